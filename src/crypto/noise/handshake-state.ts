/**
 * HandshakeState of the Noise protocol framework, revision 34, section 5.3, for patterns without pre-messages and without
 * pre-shared keys. Made for datagrams: a message that is not authentic leaves the state as it was, so that a forged one
 * can't end a handshake.
 */
import type { KeyPair, NoiseCrypto } from '../primitives.js';
import { NoiseError } from './cipher-state.js';
import type { CipherState } from './cipher-state.js';
import { SymmetricState } from './symmetric-state.js';

export type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss';

export interface HandshakePattern {
  readonly name: string;
  /** The tokens of each message; the initiator writes the first. */
  readonly messages: readonly (readonly Token[])[];
}

/** Section 7.5. */
export const XX: HandshakePattern = { name: 'XX', messages: [['e'], ['e', 'ee', 's', 'es'], ['s', 'se']] };

/** Section 3: no Noise message is longer. */
export const MAX_MESSAGE_BYTES = 65535;

export interface HandshakeOptions {
  readonly crypto: NoiseCrypto;
  readonly pattern: HandshakePattern;
  readonly initiator: boolean;
  /** Known to both ends; a difference makes the first encrypted message fail. */
  readonly prologue: Uint8Array;
  /** The static key pair. Stays the caller's. */
  readonly s: KeyPair;
  /** Where ephemeral key pairs come from. The handshake lets go of them when it ends. */
  readonly ephemeral: () => KeyPair;
}

/** What went wrong with a peer's message. The state has not advanced: the true message may still come. */
export interface NoiseReject {
  readonly ok: false;
  readonly reason: 'short' | 'long' | 'decrypt' | 'weak-key';
  readonly stateAdvanced: false;
}

export type ReadResult = { readonly ok: true; readonly payload: Uint8Array } | NoiseReject;
export type WriteResult = { readonly ok: true; readonly message: Uint8Array } | NoiseReject;

export interface SplitResult {
  readonly send: CipherState;
  readonly receive: CipherState;
  readonly handshakeHash: Uint8Array;
}

const reject = (reason: NoiseReject['reason']): NoiseReject => ({ ok: false, reason, stateAdvanced: false });

export class HandshakeState {
  private readonly crypto: NoiseCrypto;
  private readonly s: KeyPair;
  private symmetric: SymmetricState;
  private e: KeyPair | undefined;
  private re: Uint8Array | undefined;
  private rs: Uint8Array | undefined;
  private next = 0;
  private cleared = false;

  constructor(private readonly options: HandshakeOptions) {
    this.crypto = options.crypto;
    this.s = options.s;
    this.symmetric = SymmetricState.initialize(
      options.crypto,
      `Noise_${options.pattern.name}_${options.crypto.name}`,
    );
    this.symmetric.mixHash(options.prologue);
  }

  /** The other end's static public key, once a message has brought it. */
  get remoteStatic(): Uint8Array | undefined {
    return this.rs;
  }

  get finished(): boolean {
    return this.next === this.options.pattern.messages.length;
  }

  /**
   * Writes the next message with its payload. Rejects with `weak-key` where the peer sent a public key of low order, and with `long` where the
   * message would exceed 65535 bytes. Throws NoiseError `turn` or `finished` where it is not ours to write.
   */
  writeMessage(payload: Uint8Array): WriteResult {
    const tokens = this.tokens(true);
    return this.attempt(() => {
      const parts: Uint8Array[] = [];
      for (const token of tokens) {
        if (!this.writeToken(token, parts)) return reject('weak-key');
      }
      parts.push(this.symmetric.encryptAndHash(payload));
      const message = concat(parts);
      return message.length > MAX_MESSAGE_BYTES ? reject('long') : { ok: true, message };
    });
  }

  /** Reads the next message and returns its payload. Throws NoiseError `turn` or `finished` where it is not ours to read. */
  readMessage(message: Uint8Array): ReadResult {
    const tokens = this.tokens(false);
    if (message.length > MAX_MESSAGE_BYTES) return reject('long');
    return this.attempt(() => {
      let at = 0;
      for (const token of tokens) {
        const length = this.lengthOf(token);
        if (message.length < at + length) return reject('short');
        const fault = this.readToken(token, message.subarray(at, at + length));
        if (fault !== undefined) return reject(fault);
        at += length;
      }
      const payload = this.symmetric.decryptAndHash(message.subarray(at));
      return payload === undefined ? reject('decrypt') : { ok: true, payload };
    });
  }

  /** Ends the handshake: transport keys by direction as seen from this end, and the handshake hash. Clears everything else. */
  split(): SplitResult {
    if (!this.finished || this.cleared) throw new NoiseError('the handshake has not finished', 'unfinished');
    const handshakeHash = this.symmetric.getHandshakeHash();
    const [first, second] = this.symmetric.split();
    this.clear();
    return this.options.initiator
      ? { send: first, receive: second, handshakeHash }
      : { send: second, receive: first, handshakeHash };
  }

  /** Erases all secrets; the handshake can't go on. */
  clear(): void {
    this.cleared = true;
    this.symmetric.clear();
    this.e = undefined;
  }

  /** Runs one message; what it changed is taken back unless it succeeds. */
  private attempt<T>(
    run: () => ({ readonly ok: true } & T) | NoiseReject,
  ): ({ readonly ok: true } & T) | NoiseReject {
    const { symmetric, e, re, rs } = this;
    this.symmetric = symmetric.clone();
    const result = run();
    if (result.ok) {
      symmetric.clear();
      this.next += 1;
      return result;
    }
    this.symmetric.clear();
    Object.assign(this, { symmetric, e, re, rs });
    return result;
  }

  private tokens(writing: boolean): readonly Token[] {
    if (this.finished || this.cleared) throw new NoiseError('the handshake is over', 'finished');
    const ours = (this.next % 2 === 0) === this.options.initiator;
    if (ours !== writing) {
      throw new NoiseError(`message ${this.next + 1} is for the other end to write`, 'turn');
    }
    return this.options.pattern.messages[this.next]!;
  }

  private lengthOf(token: Token): number {
    if (token === 'e') return this.crypto.DHLEN;
    if (token === 's') return this.crypto.DHLEN + (this.symmetric.hasKey() ? 16 : 0);
    return 0;
  }

  private writeToken(token: Token, parts: Uint8Array[]): boolean {
    if (token === 'e') {
      this.e = this.options.ephemeral();
      parts.push(this.e.publicKey);
      this.symmetric.mixHash(this.e.publicKey);
      return true;
    }
    if (token === 's') {
      parts.push(this.symmetric.encryptAndHash(this.s.publicKey));
      return true;
    }
    return this.mixDh(token);
  }

  private readToken(token: Token, bytes: Uint8Array): 'decrypt' | 'weak-key' | undefined {
    if (token === 'e') {
      this.re = bytes.slice();
      this.symmetric.mixHash(this.re);
      return undefined;
    }
    if (token === 's') {
      this.rs = this.symmetric.decryptAndHash(bytes);
      return this.rs === undefined ? 'decrypt' : undefined;
    }
    return this.mixDh(token) ? undefined : 'weak-key';
  }

  /** The first letter names the initiator's key, the second the responder's. */
  private mixDh(token: 'ee' | 'es' | 'se' | 'ss'): boolean {
    const [ours, theirs] = this.options.initiator ? [token[0], token[1]] : [token[1], token[0]];
    const shared = this.crypto.dh(ours === 'e' ? this.e! : this.s, theirs === 'e' ? this.re! : this.rs!);
    if (shared === undefined) return false;
    this.symmetric.mixKey(shared);
    return true;
  }
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
