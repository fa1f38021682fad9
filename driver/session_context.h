/* What the parts of a session share. */

#pragma once

#include <cstdint>

#include "driver/control_mailbox.h"
#include "driver/kernel/uio.h"
#include "driver/session_fault.h"

namespace netvsc {

/* The session's own; outlives all that it is given to. */
struct SessionContext {
    Uio *uio;
    SessionFault *fault;
    ControlMailbox *mailbox;
    uint16_t generation; /* In the ids of everything that is sent. */
};

} // namespace netvsc
