/* Memory of a guest that is not there, for the tests of the machine's
 * parts. */

#pragma once

#include "host/base/unique_fd.h"
#include "host/vmm/hypervisor.h"

namespace netvsc::host::vmm::test {

inline constexpr size_t kPage = 4096;

class TestRam : public GuestRam {
public:
    explicit TestRam(size_t pages) : memory_("test-ram", pages * kPage) {}

    MutableBytes
    bytes() override
    {
        return memory_.bytes();
    }
    int
    fd() const override
    {
        return memory_.fd();
    }

    template <typename T>
    [[nodiscard]] T
    get(uint64_t address)
    {
        return load<T>(bytes(), address);
    }
    template <typename T>
    void
    put(uint64_t address, T value)
    {
        store(bytes(), address, value);
    }

private:
    SharedMemory memory_;
};

} // namespace netvsc::host::vmm::test
