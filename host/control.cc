#include "host/control.h"

#include <algorithm>
#include <iostream>

#include <nlohmann/json.hpp>
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

std::string
line_of(const Json &json)
{
    return json.dump() + "\n";
}

std::string
result_line(const Json &result)
{
    return line_of(Json{{"result", result}});
}

} // namespace

/* --- ControlServer ----------------------------------------------------- */

ControlServer::ControlServer(EventLoop &loop, Commands &host)
    : loop_(loop), host_(host), listener_(host.control_path(), SOCK_STREAM)
{
    loop_.watch(listener_.fd(), [this] { accept_client(); });
}

ControlServer::~ControlServer()
{
    loop_.forget(listener_.fd());
    while (!clients_.empty()) {
        disconnect(clients_.begin()->first);
    }
}

void
ControlServer::accept_client()
{
    UniqueFd socket = listener_.accept();
    if (!socket) {
        return;
    }
    if (clients_.size() == kMostClients) {
        /* A request is answered as it comes: who has been here longest has
         * nothing to say, or does not listen. */
        auto oldest = std::min_element(
            clients_.begin(), clients_.end(), [](auto &one, auto &other) {
                return one.second.number < other.second.number;
            });
        disconnect(oldest->first);
    }
    int fd = socket.get();
    clients_[fd].socket = std::move(socket);
    clients_[fd].number = connections_++;
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
        loop_.forget(fd);
        if (clients_[fd].reply.empty()) {
            disconnect(fd);
            return;
        }
        loop_.watch(
            fd, [this, fd] { send_reply(fd); }, EventLoop::Ready::kToWrite);
    }
}

void
ControlServer::answer(int fd, const std::string &request)
{
    std::string &reply = clients_[fd].reply;
    try {
        auto words = Json::parse(request).get<std::vector<std::string>>();
        if (words == std::vector<std::string>{kQuit}) {
            quitter_ = std::move(clients_[fd].socket);
            return;
        }
        reply = result_line(run_command(host_, words));
    } catch (const std::exception &error) {
        reply = line_of(Json{{"error", error.what()}});
    }
}

/* As much as the client takes now. */
void
ControlServer::send_reply(int fd)
{
    std::string &reply = clients_[fd].reply;
    ssize_t sent =
        send(fd, reply.data(), reply.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }
    if (sent > 0) {
        reply.erase(0, static_cast<size_t>(sent));
    }
    if (sent < 0 || reply.empty()) {
        disconnect(fd);
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
    std::string line = result_line(result);
    send(fd, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* --- The client -------------------------------------------------------- */

int
control_client(const std::string &root, const std::vector<std::string> &words)
{
    constexpr int kIndent = 2;
    try {
        UniqueFd fd = connect_to(root + "/" + kControlSocket, SOCK_STREAM);
        std::string request = line_of(words);
        send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
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
