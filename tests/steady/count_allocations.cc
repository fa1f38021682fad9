/* Counts calls of malloc(), free() and their like, of PMD threads and of all
 * others.  Test code: preload it into ovs-vswitchd, it is never installed.
 *
 * The counters are two words of $NETVSC_ALLOCATIONS, a file that is there
 * already: PMD threads first.  So they can be read while the switch runs,
 * without a thread of it having to say them. */

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

/* glibc's own, by the names that need no dlsym(), which may allocate. */
extern "C" {
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);
}

namespace {

struct Counters {
    std::atomic<uint64_t> pmd, others;
};

std::atomic<Counters *> counters;

/* A model that needs no memory at the first use. */
[[gnu::tls_model("initial-exec")]] thread_local bool is_pmd = false;

void
count()
{
    if (Counters *to = counters.load(std::memory_order_relaxed)) {
        (is_pmd ? to->pmd : to->others)
            .fetch_add(1, std::memory_order_relaxed);
    }
}

[[gnu::constructor]] void
map_counters()
{
    const char *path = std::getenv("NETVSC_ALLOCATIONS");
    int fd = path ? ::open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) {
        return;
    }
    void *memory = ::mmap(nullptr, sizeof(Counters), PROT_READ | PROT_WRITE,
                          MAP_SHARED, fd, 0);
    ::close(fd);
    if (memory != MAP_FAILED) {
        counters = static_cast<Counters *>(memory);
    }
}

} // namespace

extern "C" {

void *
malloc(size_t size) noexcept
{
    count();
    return __libc_malloc(size);
}

void *
calloc(size_t n, size_t size) noexcept
{
    count();
    return __libc_calloc(n, size);
}

void *
realloc(void *memory, size_t size) noexcept
{
    count();
    return __libc_realloc(memory, size);
}

void *
memalign(size_t alignment, size_t size) noexcept
{
    count();
    return __libc_memalign(alignment, size);
}

void *
aligned_alloc(size_t alignment, size_t size) noexcept
{
    count();
    return __libc_memalign(alignment, size);
}

int
posix_memalign(void **memory, size_t alignment, size_t size) noexcept
{
    count();
    void *result = __libc_memalign(alignment, size);
    if (!result) {
        return ENOMEM;
    }
    *memory = result;
    return 0;
}

void
free(void *memory) noexcept
{
    /* What does nothing is no call of the allocator. */
    if (memory) {
        count();
        __libc_free(memory);
    }
}

/* OVS names every thread when it begins, PMD threads pmd-cNN/id:N. */
int
pthread_setname_np(pthread_t thread, const char *name) noexcept
{
    using Set = int(pthread_t, const char *);
    static const auto set =
        reinterpret_cast<Set *>(::dlsym(RTLD_NEXT, "pthread_setname_np"));
    if (pthread_equal(thread, pthread_self())) {
        is_pmd = std::strncmp(name, "pmd-", 4) == 0;
    }
    return set(thread, name);
}

} // extern "C"
