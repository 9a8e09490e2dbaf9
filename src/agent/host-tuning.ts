/** What the agent asks of the host's stack. Tuned with `make bench`. */

/** fwmark of the agent's own datagrams, which no rule of ours takes into the overlay: "CW" and a one. */
export const MARK = 0x43570001;
/** fwmark of what the agent sends on for others, by the host's own routes. Differs from MARK in the bit that the rules leave out. */
export const RESENT_MARK = 0x43570003;
/** fwmark that leads into the device whatever the destination. */
export const CAPTURE_MARK = 0x43570002;

/**
 * Packets that wait in the TUN device. A packet may be a segmentation-offload one of 60 KiB, so a long queue is a long delay for
 * whoever stands behind a bulk stream; a short one loses bursts of small packets while the worker isn't scheduled.
 */
export const TX_QUEUE_LENGTH = 500;

/** One UDP_SEGMENT send carries at most 65507 bytes: 45 datagrams of 1380 + 56 bytes are 64620. */
export const GSO_MAX_SEGMENTS = 45;
export const GSO_MAX_SIZE = 45 * 1328 + 60;
