/**
 * Tuned: a packet this many numbers behind its flow's or source's newest isn't late (two seconds at 500 000 packets/s) but from a numbering that began
 * anew, or the newest was a forgery: there begins the state again.
 */
export const RESTART_BEHIND = 2 ** 20;
