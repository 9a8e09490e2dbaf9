/**
 * The ports through which the agent moves bytes. `native.ts` implements them over the C++ addon, `plain.ts` in TypeScript
 * alone. Ports hold no policy and no protocol: TypeScript decides, they carry out, a batch per call.
 *
 * Every call that takes `order` and `n` works on the packets `order[0..n)` of the batch, in that order.
 * Errors of the environment are thrown as `IoError` with the errno name as `code`; after `close()` every call is a no-op.
 */
import type { PacketBatch } from './batch.js';

export class IoError extends Error {
  override readonly name = 'IoError';
  constructor(
    message: string,
    /** errno name, such as EBUSY. */
    readonly code: string,
    /** System call that failed. */
    readonly syscall: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

export interface TunOptions {
  /** Interface name, 1–15 bytes. Refused with EBUSY if it exists. */
  name: string;
  /** Which offloads to ask for; all by default. A test turns some off. */
  offloads?: { vnetHeader?: boolean; tso?: boolean; uso?: boolean };
}

export interface TunFeatures {
  vnetHeader: boolean;
  tso: boolean;
  uso: boolean;
}

export interface TunDevice {
  readonly name: string;
  readonly features: TunFeatures;
  /**
   * Reads packets until the device is empty or the batch is full (capacity, or less than a maximal packet of room left).
   * Fills offset, length, flags, gsoType, gsoSize, headerLength, csumStart; sets `batch.count` and returns it.
   */
  read(batch: PacketBatch): number;
  /**
   * Writes IP packets (offset, length, flags). Consecutive segments of one TCP or UDP flow are coalesced into one
   * segmentation-offload write where the device can and PACKET_PARTIAL is set on them. Order within a flow is kept.
   * Returns how many packets the kernel took.
   */
  write(batch: PacketBatch, order: Int32Array, n: number): number;
  /** Called from the event loop while the device has packets and is not paused. */
  onReadable(callback: () => void): void;
  pause(): void;
  resume(): void;
  close(): void;
}

export interface UdpOptions {
  /** IPv4 or IPv6 address; "::" listens to both families. */
  host: string;
  /** 0 chooses one. */
  port: number;
  /** SO_MARK of every datagram, 0 for none. */
  mark: number;
  /** Endpoint slots that `send` can address. */
  slots: number;
  /** Bytes, asked for with SO_RCVBUFFORCE and SO_SNDBUFFORCE, else without force. */
  receiveBuffer?: number;
  sendBuffer?: number;
  offloads?: { gso?: boolean; gro?: boolean };
}

export interface UdpFeatures {
  gso: boolean;
  gro: boolean;
  pktinfo: boolean;
  /** The receive buffer in force, bytes. */
  receiveBuffer: number;
  sendBuffer: number;
}

export interface UdpSocket {
  readonly port: number;
  readonly features: UdpFeatures;
  /** Where the caller writes endpoints, ENDPOINT_WORDS a slot; `batch.endpoint[i]` names a slot. A zero local address lets the kernel choose. */
  readonly endpoints: Uint32Array;
  /**
   * Receives messages and cuts coalesced ones (UDP_GRO) into datagrams, in place. Fills offset, length, source, trafficClass and
   * `batch.endpoints`; sets `batch.count` and returns it. Consecutive datagrams of a coalesced message are contiguous. Takes `messages` at
   * most; as many as fit by default.
   */
  read(batch: PacketBatch, messages?: number): number;
  /**
   * Sends datagrams (offset, length, endpoint, trafficClass), consecutive ones of the same endpoint, class and length with one UDP_SEGMENT.
   * Returns how many of `order` were dealt with; fewer than n means the socket's buffer is full (wait for `onWritable`).
   * A datagram the kernel refuses (unreachable, too big …) is counted in `sendErrors` and skipped.
   */
  send(batch: PacketBatch, order: Int32Array, n: number): number;
  /**
   * Whether what is sent from here on may not be fragmented (DF), whatever the kernel believes of the path; refusals of such datagrams aren't
   * counted. False where the socket can't be told.
   */
  keepWhole(on: boolean): boolean;
  readonly sendErrors: { count: number; lastCode: string };
  /**
   * Writes rows of TROUBLE_WORDS: endpoints that can't be reached, and who says so; returns how many, and forgets them. Each endpoint once for each
   * origin since the last call; beyond some dozens they are lost. `read` may add to them, and so may `send`.
   */
  takeTroubles(into: Uint32Array): number;
  /**
   * Whether this host has a way to the endpoint in a slot; then `address` has the four words it would send from, zeros where that isn't known.
   * Takes a few system calls.
   */
  sourceFor(slot: number, address: Uint32Array): boolean;
  /** Called from the event loop while the socket has datagrams and is not paused. */
  onReadable(callback: () => void): void;
  pause(): void;
  resume(): void;
  /** Called once when the socket can take datagrams again, after a short `send`. */
  onWritable(callback: () => void): void;
  close(): void;
}

/** In `batch.status` after `RawSender.send`. */
export const RAW_REFUSED = 0;
export const RAW_SENT = 1;
/** Larger than the interface that it would leave by takes. */
export const RAW_TOO_BIG = 2;

/** Sends whole IP packets as they are, by the host's own routes and through its filters. */
export interface RawSender {
  /** Completes partial checksums. Sets the status of each packet; returns how many were sent. What finds no room is refused, not waited for. */
  send(batch: PacketBatch, order: Int32Array, n: number): number;
  close(): void;
}

/** A row of `takeTroubles`: the address as in an endpoint's record, its port, and an origin. */
export const TROUBLE_WORDS = 6;
export const TROUBLE_PORT = 4;
export const TROUBLE_ORIGIN = 5;
/** This host refused a datagram, having no way there. */
export const ORIGIN_HOST = 0;
/** An ICMP error, which anyone may have sent. */
export const ORIGIN_NETWORK = 1;

export type Cipher = 'aes-256-gcm' | 'chacha20-poly1305';

/**
 * Seals and opens records in place. A record is RECORD_HEADER bytes of header, authenticated as associated data, then the
 * body, then RECORD_TAG bytes of tag; the nonce is 4 zero bytes followed by the header's last 8 bytes.
 */
export interface Aead {
  /** What computes, for doctor: such as "ipsec-mb avx512" or "openssl 3.0". */
  readonly engine: string;
  /** Slots are 0 .. slots-1. */
  setKey(slot: number, cipher: Cipher, key: Uint8Array): void;
  /** Erases the key. Sealing or opening with an empty slot fails that packet with status 0. */
  clearKey(slot: number): void;
  /** offset and length span header and plaintext, with RECORD_TAG bytes of room behind; length grows by RECORD_TAG. */
  seal(batch: PacketBatch, order: Int32Array, n: number): void;
  /** offset and length span the whole record; sets status, and where authentic length shrinks by RECORD_TAG. Returns how many were authentic. */
  open(batch: PacketBatch, order: Int32Array, n: number): number;
}

/** Something to let go of. */
export interface Closable {
  close(): void;
}

/** A one-shot timer in microseconds on the loading thread's event loop. */
export interface MicroTimer {
  /** Replaces what was armed before. */
  arm(delayMicros: number): void;
  disarm(): void;
  close(): void;
}

/** Bytes of a packet's head that a sender log keeps, and words of its table: length of the head, user, group, mark. */
export const SENDER_HEAD = 128;
export const SENDER_COLUMNS = 4;

/** Row i has its head at i · SENDER_HEAD of `bytes` and its words at i · SENDER_COLUMNS of `table`. A user or group of 2³²−1 is unknown. */
export interface SenderBatch {
  readonly bytes: Uint8Array;
  readonly table: Uint32Array;
}

/** Heads of packets and who sent them, as nftables log them to a netlink group. */
export interface SenderLog {
  /** Takes what there is. Returns how many rows, or −1 − rows where some were lost before; fewer than fit mean that there were no more. */
  read(batch: SenderBatch): number;
  close(): void;
}

export interface PeerCredentials {
  user: number;
  /** The process's own group and those that it is in besides. */
  groups: number[];
}

export interface Io {
  readonly kind: 'native' | 'plain';
  createTun(options: TunOptions): TunDevice;
  createUdp(options: UdpOptions): UdpSocket | Promise<UdpSocket>;
  createAead(slots: number): Aead;
  /** `mark`: SO_MARK of what is sent. */
  createRaw(mark: number): RawSender;
  createTimer(callback: () => void): MicroTimer;
  /**
   * Copies the packets `order[0..n)` of `from` into `into` from its start, segmentation-offload packets cut into their segments, each with
   * `headroom` bytes before and `tailroom` after it and nothing between; offset and length span headroom and packet. Fills offset, length,
   * source and flags. TCP sequence numbers, flags, IPv4 identification, lengths and partial checksums are made right for each segment
   * (checksums stay partial where TCP or UDP follows the IP header directly; elsewhere they are completed).
   * Returns how many of `order` were consumed: fewer than n when `into` is full. A packet whose offload fields make no sense is skipped and counted.
   */
  segment(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    headroom: number,
    tailroom: number,
  ): number;
  /**
   * As `segment`, but the segments go to slots slots[0..slotCount) of `into`, one each, as those of `copy`: the bytes to slot · size + at, which
   * becomes the slot's offset; length, source and flags are filled too. `into.count` says how many slots were used.
   * Returns how many of `order` were consumed: fewer than n when slots are too few. A packet whose segments exceed a slot is refused.
   */
  scatter(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    slots: Int32Array,
    slotCount: number,
    at: number,
  ): number;
  /** Packets that `segment` and `scatter` refused so far. */
  readonly segmentErrors: number;
  /**
   * Copies packet order[k], for each k of 0..n, into slot slots[k] of `into`, whose arena is cut into `capacity` slots of one size
   * (arena / capacity, rounded down): the bytes go to slot · size + at, which becomes the slot's offset; length, flags and trafficClass go
   * along, other columns stay. Where packet and `at` bytes before it exceed the slot, or the packet lies outside its arena, the length is 0.
   * Whoever seals in the slot keeps RECORD_TAG bytes free behind. In the order's order; `from` and `into` may be one batch.
   */
  copy(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    slots: Int32Array,
    at: number,
  ): void;
  /** Reads a netlink group. Throws IoError EBUSY where somebody else does. Absent where that can't be had. */
  createSenderLog?(group: number): SenderLog;
  /** Who is at the other end of a UNIX socket. Absent where that can't be had. */
  peerCredentials?(fd: number): PeerCredentials;
  /** Calls back after an interface or an address of this host came, went or changed its state. Undefined where that can't be had. */
  watchHost(callback: () => void): Closable | undefined;
  /** Microseconds of CLOCK_BOOTTIME. */
  now(): number;
  /** systemd's notify protocol; false where NOTIFY_SOCKET is unset. */
  notify(state: string): boolean;
  /**
   * Asks the kernel for a shorter scheduling slice for the calling thread, µs: it is woken sooner and, in return, makes way sooner
   * (EEVDF, Linux ≥ 6.12). False where that can't be had.
   */
  setSlice(micros: number): boolean;
  /** Gives memory that all threads' native code has freed back to the kernel; takes about a millisecond. False where that can't be had. */
  trim(): boolean;
  /** What the CPU offers: AES instructions decide which cipher a node offers. */
  readonly cpu: { aes: boolean };
}
