/* The control socket: a line of JSON with the words of a command in, a line
 * of JSON with its result out. */

#pragma once

#include <map>
#include <string>
#include <vector>

#include "host/base/event_loop.h"
#include "host/base/unix_socket.h"
#include "host/commands.h"

namespace netvsc::host {

/* The daemon's end, on the main thread's loop.  A client that is slow or sends
 * nonsense holds up nobody. */
class ControlServer {
public:
    /* Throws HostError. */
    ControlServer(EventLoop &loop, Commands &host);
    ~ControlServer();
    ControlServer(const ControlServer &) = delete;
    ControlServer &operator=(const ControlServer &) = delete;

    [[nodiscard]] bool
    quit_requested() const
    {
        return static_cast<bool>(quitter_);
    }
    /* Connection of the client that asked for `quit`, which gets its answer
     * when everything is gone. */
    [[nodiscard]] UniqueFd
    take_quitter()
    {
        return std::move(quitter_);
    }

private:
    struct Client {
        UniqueFd socket;
        uint64_t number = 0; /* Of its connection. */
        std::string request;
        std::string reply; /* What is left of it to send. */
    };
    /* Far more than operators and scripts at once. */
    static constexpr size_t kMostClients = 64;

    void accept_client();
    void receive(int fd);
    void answer(int fd, const std::string &request);
    void send_reply(int fd);
    void disconnect(int fd);

    EventLoop &loop_;
    Commands &host_;
    Listener listener_;
    std::map<int, Client> clients_;
    uint64_t connections_ = 0;
    UniqueFd quitter_;
};

/* Sends the result of a command to a client that waits for it.  Never
 * blocks. */
void send_result(int fd, const Commands::Json &result);

/* `netvsc-host ctl`: prints the result or the error, returns the exit
 * status. */
[[nodiscard]] int control_client(const std::string &root,
                                 const std::vector<std::string> &words);

} // namespace netvsc::host
