/**
 * The ports over the C++ addon in native/. Thin: each method is one call into the addon with the batch's memory; here are only types,
 * the translation of errors, and what becomes of calls after `close()`.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import type { PacketBatch } from './batch.js';
import { ENDPOINT_WORDS } from './batch.js';
import type {
  Aead,
  Cipher,
  Closable,
  Io,
  MicroTimer,
  PeerCredentials,
  RawSender,
  SenderLog,
  TunDevice,
  TunFeatures,
  TunOptions,
  UdpFeatures,
  UdpOptions,
  UdpSocket,
} from './ports.js';
import { IoError, SENDER_HEAD } from './ports.js';

/** A native resource; only the addon looks inside. */
type Handle = object;

/** What native/addon.cc exports. Every call throws an Error with an errno name or ERANGE as `code`. */
interface Addon {
  readonly columns: string[];
  segment(
    bytes: Uint8Array,
    table: Int32Array,
    order: Int32Array,
    n: number,
    intoBytes: Uint8Array,
    intoTable: Int32Array,
    headroom: number,
    tailroom: number,
  ): number;
  scatter(
    bytes: Uint8Array,
    table: Int32Array,
    order: Int32Array,
    n: number,
    intoBytes: Uint8Array,
    intoTable: Int32Array,
    slots: Int32Array,
    slotCount: number,
    at: number,
  ): number;
  senderLogOpen(group: number, head: number): Handle;
  senderLogRead(handle: Handle, bytes: Uint8Array, table: Uint32Array, room: number): number;
  senderLogClose(handle: Handle): void;
  peerCredentials(fd: number): number[];
  segmentErrors(): number;
  copy(
    bytes: Uint8Array,
    table: Int32Array,
    order: Int32Array,
    n: number,
    intoBytes: Uint8Array,
    intoTable: Int32Array,
    slots: Int32Array,
    at: number,
  ): void;
  tunOpen(
    name: string,
    vnetHeader: boolean,
    tso: boolean,
    uso: boolean,
  ): TunFeatures & { handle: Handle; name: string };
  tunRead(handle: Handle, bytes: Uint8Array, table: Int32Array): number;
  tunWrite(handle: Handle, bytes: Uint8Array, table: Int32Array, order: Int32Array, n: number): number;
  tunOnReadable(handle: Handle, callback: () => void): void;
  tunPause(handle: Handle, paused: boolean): void;
  tunClose(handle: Handle): void;
  coalesce(
    bytes: Uint8Array,
    table: Int32Array,
    order: Int32Array,
    n: number,
    vnetHeader: boolean,
    tso: boolean,
    uso: boolean,
  ): ArrayBuffer[];
  udpOpen(
    host: string,
    port: number,
    mark: number,
    slots: number,
    receiveBuffer: number,
    sendBuffer: number,
    gso: boolean,
    gro: boolean,
  ): UdpFeatures & { handle: Handle; port: number };
  udpRead(
    handle: Handle,
    bytes: Uint8Array,
    table: Int32Array,
    endpoints: Uint32Array,
    messages: number,
  ): number;
  udpSend(
    handle: Handle,
    bytes: Uint8Array,
    table: Int32Array,
    order: Int32Array,
    n: number,
    endpoints: Uint32Array,
  ): number;
  udpKeepWhole(handle: Handle, on: boolean): boolean;
  udpErrors(handle: Handle): number;
  udpLastError(handle: Handle): string;
  udpTroubles(handle: Handle, words: Uint32Array): number;
  udpSource(handle: Handle, endpoints: Uint32Array, slot: number, words: Uint32Array): boolean;
  udpOnReadable(handle: Handle, callback: () => void): void;
  udpPause(handle: Handle, paused: boolean): void;
  udpOnWritable(handle: Handle, callback: () => void): void;
  udpClose(handle: Handle): void;
  aeadOpen(slots: number, forceOpenSsl: boolean): { handle: Handle; engine: string };
  aeadSetKey(handle: Handle, slot: number, cipher: 0 | 1, key: Uint8Array): void;
  aeadClearKey(handle: Handle, slot: number): void;
  aeadSeal(handle: Handle, bytes: Uint8Array, table: Int32Array, order: Int32Array, n: number): void;
  aeadOpenRecords(handle: Handle, bytes: Uint8Array, table: Int32Array, order: Int32Array, n: number): number;
  aeadClose(handle: Handle): void;
  aeadVector(
    forceOpenSsl: boolean,
    cipher: 0 | 1,
    key: Uint8Array,
    nonce: Uint8Array,
    header: Uint8Array,
    body: Uint8Array,
    open: boolean,
  ): boolean;
  rawOpen(mark: number): Handle;
  rawSend(handle: Handle, bytes: Uint8Array, table: Int32Array, order: Int32Array, n: number): number;
  rawClose(handle: Handle): void;
  timerOpen(callback: () => void): Handle;
  timerArm(handle: Handle, micros: number): void;
  timerClose(handle: Handle): void;
  watchOpen(callback: () => void): Handle;
  watchDrain(handle: Handle): void;
  watchClose(handle: Handle): void;
  now(): number;
  notify(path: string, state: string): void;
  setSlice(micros: number): boolean;
  trim(): boolean;
  cpuHasAes(): boolean;
}

/** src/io and dist/io lie equally deep. CAUSEWAY_ADDON names another build, such as the sanitizers'. */
function addonPath(): string {
  return (
    process.env['CAUSEWAY_ADDON'] ??
    fileURLToPath(new URL('../../build/Release/causeway.node', import.meta.url))
  );
}

let loaded: Addon | undefined;

function load(): Addon {
  if (loaded !== undefined) return loaded;
  try {
    loaded = createRequire(import.meta.url)(addonPath()) as Addon;
  } catch (cause) {
    throw new IoError(
      'the native addon cannot be loaded: install a compiler (apt-get install g++ make python3) and run npm rebuild, or use --plain',
      'ENOADDON',
      'dlopen',
      { cause },
    );
  }
  return loaded;
}

/** Runs a call of the addon; its errors become IoError. */
function attempt<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    const { message, code, syscall } = cause as { message: string; code?: string; syscall?: string };
    throw new IoError(`${what}: ${message}`, code ?? 'EIO', syscall ?? 'native', { cause });
  }
}

class NativeTun implements TunDevice {
  readonly name: string;
  readonly features: TunFeatures;
  readonly #addon: Addon;
  readonly #handle: Handle;
  #closed = false;

  constructor(addon: Addon, options: TunOptions) {
    const { vnetHeader = true, tso = true, uso = true } = options.offloads ?? {};
    const opened = attempt(`TUN device ${options.name}`, () =>
      addon.tunOpen(options.name, vnetHeader, tso, uso),
    );
    this.#addon = addon;
    this.#handle = opened.handle;
    this.name = opened.name;
    this.features = { vnetHeader: opened.vnetHeader, tso: opened.tso, uso: opened.uso };
  }

  read(batch: PacketBatch): number {
    batch.count = 0;
    if (this.#closed) return 0;
    try {
      return (batch.count = this.#addon.tunRead(this.#handle, batch.bytes, batch.table));
    } catch (cause) {
      return attempt(`TUN device ${this.name}`, () => {
        throw cause;
      });
    }
  }

  write(batch: PacketBatch, order: Int32Array, n: number): number {
    return this.#closed ? 0 : this.#addon.tunWrite(this.#handle, batch.bytes, batch.table, order, n);
  }

  onReadable(callback: () => void): void {
    if (!this.#closed) this.#addon.tunOnReadable(this.#handle, callback);
  }

  pause(): void {
    if (!this.#closed) this.#addon.tunPause(this.#handle, true);
  }

  resume(): void {
    if (!this.#closed) this.#addon.tunPause(this.#handle, false);
  }

  close(): void {
    this.#closed = true;
    this.#addon.tunClose(this.#handle);
  }
}

/** More than any batch has room for. */
const ALL_MESSAGES = 2 ** 31 - 1;

class NativeUdp implements UdpSocket {
  readonly port: number;
  readonly features: UdpFeatures;
  readonly endpoints: Uint32Array;
  readonly sendErrors: { readonly count: number; readonly lastCode: string };
  readonly #addon: Addon;
  readonly #handle: Handle;
  #closed = false;

  constructor(addon: Addon, options: UdpOptions) {
    const { host, port, mark, slots, receiveBuffer = 0, sendBuffer = 0, offloads } = options;
    const opened = attempt(`UDP socket ${host} port ${port}`, () =>
      addon.udpOpen(
        host,
        port,
        mark,
        slots,
        receiveBuffer,
        sendBuffer,
        offloads?.gso ?? true,
        offloads?.gro ?? true,
      ),
    );
    const { handle, port: bound, ...features } = opened;
    this.#addon = addon;
    this.#handle = handle;
    this.port = bound;
    this.features = features;
    this.endpoints = new Uint32Array(ENDPOINT_WORDS * slots);
    this.sendErrors = {
      get count() {
        return addon.udpErrors(handle);
      },
      get lastCode() {
        return addon.udpLastError(handle);
      },
    };
  }

  read(batch: PacketBatch, messages = ALL_MESSAGES): number {
    if (this.#closed) return (batch.count = 0);
    const { bytes, table, endpoints } = batch;
    return (batch.count = this.#addon.udpRead(this.#handle, bytes, table, endpoints, messages));
  }

  send(batch: PacketBatch, order: Int32Array, n: number): number {
    if (this.#closed) return n;
    return this.#addon.udpSend(this.#handle, batch.bytes, batch.table, order, n, this.endpoints);
  }

  takeTroubles(into: Uint32Array): number {
    return this.#closed ? 0 : this.#addon.udpTroubles(this.#handle, into);
  }

  sourceFor(slot: number, address: Uint32Array): boolean {
    return !this.#closed && this.#addon.udpSource(this.#handle, this.endpoints, slot, address);
  }

  keepWhole(on: boolean): boolean {
    return !this.#closed && this.#addon.udpKeepWhole(this.#handle, on);
  }

  onReadable(callback: () => void): void {
    if (!this.#closed) this.#addon.udpOnReadable(this.#handle, callback);
  }

  pause(): void {
    if (!this.#closed) this.#addon.udpPause(this.#handle, true);
  }

  resume(): void {
    if (!this.#closed) this.#addon.udpPause(this.#handle, false);
  }

  onWritable(callback: () => void): void {
    if (!this.#closed) this.#addon.udpOnWritable(this.#handle, callback);
  }

  close(): void {
    this.#closed = true;
    this.#addon.udpClose(this.#handle);
  }
}

const CIPHER_NUMBER: Record<Cipher, 0 | 1> = { 'aes-256-gcm': 0, 'chacha20-poly1305': 1 };

function forceOpenSsl(): boolean {
  return process.env['CAUSEWAY_AEAD'] === 'openssl';
}

class NativeAead implements Aead {
  readonly engine: string;
  readonly #addon: Addon;
  readonly #handle: Handle;

  constructor(addon: Addon, slots: number) {
    const opened = attempt('AEAD', () => addon.aeadOpen(slots, forceOpenSsl()));
    this.#addon = addon;
    this.#handle = opened.handle;
    this.engine = opened.engine;
  }

  setKey(slot: number, cipher: Cipher, key: Uint8Array): void {
    attempt('AEAD key', () => this.#addon.aeadSetKey(this.#handle, slot, CIPHER_NUMBER[cipher], key));
  }

  clearKey(slot: number): void {
    attempt('AEAD key', () => this.#addon.aeadClearKey(this.#handle, slot));
  }

  seal(batch: PacketBatch, order: Int32Array, n: number): void {
    this.#addon.aeadSeal(this.#handle, batch.bytes, batch.table, order, n);
  }

  open(batch: PacketBatch, order: Int32Array, n: number): number {
    return this.#addon.aeadOpenRecords(this.#handle, batch.bytes, batch.table, order, n);
  }
}

class NativeRaw implements RawSender {
  readonly #addon: Addon;
  readonly #handle: Handle;

  constructor(addon: Addon, mark: number) {
    this.#addon = addon;
    this.#handle = attempt('raw socket', () => addon.rawOpen(mark));
  }

  send(batch: PacketBatch, order: Int32Array, n: number): number {
    return this.#addon.rawSend(this.#handle, batch.bytes, batch.table, order, n);
  }

  close(): void {
    this.#addon.rawClose(this.#handle);
  }
}

class NativeTimer implements MicroTimer {
  readonly #addon: Addon;
  readonly #handle: Handle;

  constructor(addon: Addon, callback: () => void) {
    this.#addon = addon;
    this.#handle = attempt('timer', () => addon.timerOpen(callback));
  }

  arm(delayMicros: number): void {
    this.#addon.timerArm(this.#handle, delayMicros > 0 ? delayMicros : 0);
  }

  disarm(): void {
    this.#addon.timerArm(this.#handle, -1);
  }

  close(): void {
    this.#addon.timerClose(this.#handle);
  }
}

const COUNT_SHIFT = 1 << 24;

class NativeIo implements Io {
  readonly kind = 'native';
  readonly cpu: { aes: boolean };
  readonly #addon: Addon;

  constructor(addon: Addon) {
    this.#addon = addon;
    this.cpu = { aes: addon.cpuHasAes() };
  }

  createTun(options: TunOptions): TunDevice {
    return new NativeTun(this.#addon, options);
  }

  createUdp(options: UdpOptions): UdpSocket {
    return new NativeUdp(this.#addon, options);
  }

  createRaw(mark: number): RawSender {
    return new NativeRaw(this.#addon, mark);
  }

  createAead(slots: number): Aead {
    return new NativeAead(this.#addon, slots);
  }

  createTimer(callback: () => void): MicroTimer {
    return new NativeTimer(this.#addon, callback);
  }

  segment(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    headroom: number,
    tailroom: number,
  ): number {
    const both = this.#addon.segment(
      from.bytes,
      from.table,
      order,
      n,
      into.bytes,
      into.table,
      headroom,
      tailroom,
    );
    into.count = Math.floor(both / COUNT_SHIFT);
    return both % COUNT_SHIFT;
  }

  scatter(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    slots: Int32Array,
    slotCount: number,
    at: number,
  ): number {
    const both = this.#addon.scatter(
      from.bytes,
      from.table,
      order,
      n,
      into.bytes,
      into.table,
      slots,
      slotCount,
      at,
    );
    into.count = Math.floor(both / COUNT_SHIFT);
    return both % COUNT_SHIFT;
  }

  get segmentErrors(): number {
    return this.#addon.segmentErrors();
  }

  copy(
    from: PacketBatch,
    order: Int32Array,
    n: number,
    into: PacketBatch,
    slots: Int32Array,
    at: number,
  ): void {
    this.#addon.copy(from.bytes, from.table, order, n, into.bytes, into.table, slots, at);
  }

  createSenderLog(group: number): SenderLog {
    const addon = this.#addon;
    const handle = attempt(`netlink group ${group}`, () => addon.senderLogOpen(group, SENDER_HEAD));
    return {
      read: ({ bytes, table }) => addon.senderLogRead(handle, bytes, table, SENDER_HEAD),
      close: () => addon.senderLogClose(handle),
    };
  }

  peerCredentials(fd: number): PeerCredentials {
    const [user, ...groups] = attempt('control socket', () => this.#addon.peerCredentials(fd));
    return { user, groups };
  }

  watchHost(callback: () => void): Closable | undefined {
    const addon = this.#addon;
    const handle = attempt('watch', () =>
      addon.watchOpen(() => {
        addon.watchDrain(handle);
        callback();
      }),
    );
    return { close: () => addon.watchClose(handle) };
  }

  now(): number {
    return this.#addon.now();
  }

  setSlice(micros: number): boolean {
    return this.#addon.setSlice(micros);
  }

  trim(): boolean {
    return this.#addon.trim();
  }

  notify(state: string): boolean {
    const path = process.env['NOTIFY_SOCKET'];
    if (path === undefined || path === '') return false;
    attempt(`NOTIFY_SOCKET ${path}`, () => this.#addon.notify(path, state));
    return true;
  }
}

/** Whether the addon is built and this machine can load it. */
export function nativeAvailable(): boolean {
  try {
    load();
    return true;
  } catch {
    return false;
  }
}

/** The addon's ports. Throws IoError with code ENOADDON where it isn't built. May be called in any thread, any number of times. */
export function loadNative(): Io {
  return new NativeIo(load());
}

/**
 * What `TunDevice.write` would hand to the kernel, one buffer a write: 10 bytes of virtio-net header, then the packet. Rewrites
 * packets of the batch as `write` does. For tests and measurements without a device.
 */
export function coalesce(
  batch: PacketBatch,
  order: Int32Array,
  n: number,
  features: TunFeatures,
): Uint8Array[] {
  const { vnetHeader, tso, uso } = features;
  return load()
    .coalesce(batch.bytes, batch.table, order, n, vnetHeader, tso, uso)
    .map((buffer) => new Uint8Array(buffer));
}

/** The addon's idea of the table's columns, for the test that holds it against COLUMNS. */
export function nativeColumns(): string[] {
  return load().columns;
}

/**
 * Seals or opens one message in place, with a nonce and a header of the caller's choice: for published test vectors, which the record
 * format can't express. `body` ends in the tag, or in room for it. Obeys CAUSEWAY_AEAD.
 */
export function aeadVector(
  direction: 'seal' | 'open',
  cipher: Cipher,
  message: { key: Uint8Array; nonce: Uint8Array; header: Uint8Array; body: Uint8Array },
): boolean {
  const { key, nonce, header, body } = message;
  return load().aeadVector(
    forceOpenSsl(),
    CIPHER_NUMBER[cipher],
    key,
    nonce,
    header,
    body,
    direction === 'open',
  );
}
