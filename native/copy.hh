// Copies packets into slots of a store: fixed places of one size in another batch's arena.
#pragma once

#include "batch.hh"

namespace causeway {

/** See Io.copy in ports.ts. `slots` names rows of `into`, one for each packet of the order; `at` is not negative. */
void copyPackets(const Batch& from, const Order& order, const Batch& into, const Order& slots, int at);

}  // namespace causeway
