/** SymmetricState of the Noise protocol framework, revision 34, section 5.2. */
import type { NoiseCrypto } from '../primitives.js';
import { CipherState } from './cipher-state.js';

export class SymmetricState {
  private constructor(
    private readonly crypto: NoiseCrypto,
    private readonly cipher: CipherState,
    private ck: Uint8Array,
    private h: Uint8Array,
  ) {}

  /** InitializeSymmetric. */
  static initialize(crypto: NoiseCrypto, protocolName: string): SymmetricState {
    const name = new TextEncoder().encode(protocolName);
    let h = new Uint8Array(crypto.HASHLEN);
    if (name.length <= crypto.HASHLEN) h.set(name);
    else h = Uint8Array.from(crypto.hash(name));
    return new SymmetricState(crypto, new CipherState(crypto), h.slice(), h);
  }

  /** Clears `inputKeyMaterial`. */
  mixKey(inputKeyMaterial: Uint8Array): void {
    const [ck, tempK] = this.hkdf(inputKeyMaterial);
    inputKeyMaterial.fill(0);
    this.ck.fill(0);
    this.ck = ck;
    this.cipher.initializeKey(tempK);
  }

  mixHash(data: Uint8Array): void {
    this.h = this.crypto.hash(this.h, data);
  }

  encryptAndHash(plaintext: Uint8Array): Uint8Array {
    const ciphertext = this.cipher.encryptWithAd(this.h, plaintext);
    this.mixHash(ciphertext);
    return ciphertext;
  }

  /** Undefined where the ciphertext is not authentic: then nothing has advanced. */
  decryptAndHash(ciphertext: Uint8Array): Uint8Array | undefined {
    const plaintext = this.cipher.decryptWithAd(this.h, ciphertext);
    if (plaintext !== undefined) this.mixHash(ciphertext);
    return plaintext;
  }

  hasKey(): boolean {
    return this.cipher.hasKey();
  }

  /** A copy of h: a name for the session once the handshake is over. */
  getHandshakeHash(): Uint8Array {
    return this.h.slice();
  }

  /** The transport keys: the first for what the initiator sends, the second for what the responder sends. */
  split(): [CipherState, CipherState] {
    const states = this.hkdf(new Uint8Array(0)).map((key) => {
      const state = new CipherState(this.crypto);
      state.initializeKey(key);
      return state;
    });
    return [states[0]!, states[1]!];
  }

  clone(): SymmetricState {
    return new SymmetricState(this.crypto, this.cipher.clone(), this.ck.slice(), this.h.slice());
  }

  clear(): void {
    this.cipher.clear();
    this.ck.fill(0);
    this.h.fill(0);
  }

  /** HKDF (4.3) with two outputs. */
  private hkdf(inputKeyMaterial: Uint8Array): [Uint8Array, Uint8Array] {
    const tempKey = this.crypto.hmacHash(this.ck, inputKeyMaterial);
    const output1 = this.crypto.hmacHash(tempKey, Uint8Array.of(1));
    const output2 = this.crypto.hmacHash(tempKey, output1, Uint8Array.of(2));
    tempKey.fill(0);
    return [output1, output2];
  }
}
