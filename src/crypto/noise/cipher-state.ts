/** CipherState of the Noise protocol framework, revision 34, section 5.1. */
import type { NoiseCrypto } from '../primitives.js';

/** A misuse by our own code. What a peer can cause is a typed reject instead. */
export class NoiseError extends Error {
  override readonly name = 'NoiseError';
  constructor(
    message: string,
    readonly code: 'turn' | 'finished' | 'unfinished' | 'nonce-exhausted' | 'no-key',
  ) {
    super(message);
  }
  /** No misuse changes a state. */
  readonly stateAdvanced = false;
}

export class CipherState {
  private k: Uint8Array | undefined;
  /** The next nonce. The specification ends at 2^64 - 1; we end where numbers stop being exact. */
  private n = 0;

  constructor(private readonly crypto: NoiseCrypto) {}

  /** Takes ownership of `key`. */
  initializeKey(key: Uint8Array): void {
    this.k?.fill(0);
    this.k = key;
    this.n = 0;
  }

  hasKey(): boolean {
    return this.k !== undefined;
  }

  /** Without a key, the plaintext itself. The nonce advances by one. Throws NoiseError `nonce-exhausted` after 2^53 - 1 messages. */
  encryptWithAd(ad: Uint8Array, plaintext: Uint8Array): Uint8Array {
    if (this.k === undefined) return plaintext.slice();
    const ciphertext = this.crypto.encrypt(this.k, this.nonce(), ad, plaintext);
    this.n += 1;
    return ciphertext;
  }

  /** Without a key, the ciphertext itself. Undefined where it is not authentic: then the nonce has not advanced. */
  decryptWithAd(ad: Uint8Array, ciphertext: Uint8Array): Uint8Array | undefined {
    if (this.k === undefined) return ciphertext.slice();
    const plaintext = this.crypto.decrypt(this.k, this.nonce(), ad, ciphertext);
    if (plaintext !== undefined) this.n += 1;
    return plaintext;
  }

  /** A copy of the key, for keys derived from it. */
  exportKey(): Uint8Array {
    if (this.k === undefined) throw new NoiseError('this cipher state has no key', 'no-key');
    return this.k.slice();
  }

  /** An independent state with the same key and nonce. */
  clone(): CipherState {
    const copy = new CipherState(this.crypto);
    copy.k = this.k?.slice();
    copy.n = this.n;
    return copy;
  }

  clear(): void {
    this.k?.fill(0);
    this.k = undefined;
    this.n = 0;
  }

  private nonce(): number {
    if (this.n >= Number.MAX_SAFE_INTEGER) throw new NoiseError('no nonce is left', 'nonce-exhausted');
    return this.n;
  }
}
