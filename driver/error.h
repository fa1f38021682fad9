/* Errors of the control path: an errno and a sentence for the operator. */

#pragma once

#include <string>
#include <utility>
#include <variant>

namespace netvsc {

/* `message` is a full sentence that names the device and the fix; `code` a
 * positive errno. */
struct Error {
    int code = 0;
    std::string message;
};

/* A T, or why there is none. */
template <typename T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::move(value)) {}
    Result(Error error) : state_(std::move(error)) {}

    explicit operator bool() const { return state_.index() == 0; }
    T &
    operator*()
    {
        return std::get<0>(state_);
    }
    const T &
    operator*() const
    {
        return std::get<0>(state_);
    }
    T *
    operator->()
    {
        return &std::get<0>(state_);
    }
    const T *
    operator->() const
    {
        return &std::get<0>(state_);
    }
    const Error &
    error() const
    {
        return std::get<1>(state_);
    }

private:
    std::variant<T, Error> state_;
};

/* Success, or why not. */
using Status = Result<std::monostate>;

inline Status
ok()
{
    return std::monostate{};
}

} // namespace netvsc
