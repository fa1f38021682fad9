#include "host/control.h"

#include <iostream>

#include <sys/socket.h>

#include "host/base/error.h"
#include "host/base/root_lock.h"
#include "host/base/unix_socket.h"

namespace netvsc::host {

namespace {

using Json = Commands::Json;

/* A NIC's description is a few hundred bytes. */
constexpr size_t kLongestRequest = 64 * 1024;

constexpr char kQuit[] = "quit";

void
send_line(int fd, const Json &json)
{
    std::string line = json.dump() + "\n";
    /* The answer fits any socket buffer by far; whoever does not want it has
     * hung up. */
    send(fd, line.data(), line.size(), MSG_NOSIGNAL);
}

} // namespace

/* --- ControlServer ----------------------------------------------------- */

ControlServer::ControlServer(EventLoop &loop, Commands &host)
    : loop_(loop), host_(host),
      listener_(listen_at(host.control_path(), SOCK_STREAM))
{
    loop_.watch(listener_.get(), [this] { accept_client(); });
}

ControlServer::~ControlServer()
{
    loop_.forget(listener_.get());
    while (!clients_.empty()) {
        disconnect(clients_.begin()->first);
    }
}

void
ControlServer::accept_client()
{
    UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!socket) {
        return;
    }
    int fd = socket.get();
    clients_[fd].socket = std::move(socket);
    loop_.watch(fd, [this, fd] { receive(fd); });
}

void
ControlServer::receive(int fd)
{
    char buffer[4096];
    ssize_t size = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    std::string &request = clients_[fd].request;
    if (size <= 0 || request.size() > kLongestRequest) {
        disconnect(fd);
        return;
    }
    request.append(buffer, static_cast<size_t>(size));
    size_t end = request.find('\n');
    if (end != std::string::npos) {
        answer(fd, request.substr(0, end));
        disconnect(fd);
    }
}

void
ControlServer::answer(int fd, const std::string &request)
{
    try {
        auto words = Json::parse(request).get<std::vector<std::string>>();
        if (words == std::vector<std::string>{kQuit}) {
            quitter_ = std::move(clients_[fd].socket);
            return;
        }
        send_result(fd, run_command(host_, words));
    } catch (const std::exception &error) {
        send_error(fd, error.what());
    }
}

void
ControlServer::disconnect(int fd)
{
    loop_.forget(fd);
    clients_.erase(fd);
}

void
send_result(int fd, const Json &result)
{
    send_line(fd, Json{{"result", result}});
}

void
send_error(int fd, const std::string &sentence)
{
    send_line(fd, Json{{"error", sentence}});
}

/* --- The client -------------------------------------------------------- */

int
control_client(const std::string &root, const std::vector<std::string> &words)
{
    constexpr int kIndent = 2;
    try {
        UniqueFd fd = connect_to(root + "/" + kControlSocket, SOCK_STREAM);
        send_line(fd.get(), words);
        std::string text;
        char buffer[4096];
        for (ssize_t size;
             (size = recv(fd.get(), buffer, sizeof buffer, 0)) > 0;) {
            text.append(buffer, static_cast<size_t>(size));
        }
        if (text.empty()) {
            throw HostError("The host at " + root +
                            " hung up without an answer.");
        }
        Json reply = Json::parse(text);
        if (reply.contains("error")) {
            throw HostError(reply["error"].get<std::string>());
        }
        std::cout << reply["result"].dump(kIndent) << "\n";
        return 0;
    } catch (const std::exception &error) {
        std::cerr << "netvsc-host ctl: " << error.what() << "\n";
        return 1;
    }
}

} // namespace netvsc::host
