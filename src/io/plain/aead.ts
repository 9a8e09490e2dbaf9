/** AEAD over node:crypto: one call and one copy per record. */
import { createCipheriv, createDecipheriv, type CipherGCMTypes } from 'node:crypto';
import { RECORD_HEADER, RECORD_TAG, type PacketBatch } from '../batch.js';
import { IoError, type Aead, type Cipher } from '../ports.js';

const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const NONCE_COUNTER = 4;

interface Slot {
  /** Typed as GCM because node:crypto's types know the AEAD calls of it alone; both ciphers take the same options. */
  algorithm: CipherGCMTypes;
  key: Uint8Array;
}

export function createPlainAead(slots: number): Aead {
  return new PlainAead(slots);
}

class PlainAead implements Aead {
  readonly engine = `node:crypto openssl ${process.versions.openssl}`;
  readonly #slots: (Slot | undefined)[];

  constructor(slots: number) {
    this.#slots = Array.from({ length: slots }, () => undefined);
  }

  setKey(slot: number, cipher: Cipher, key: Uint8Array): void {
    if (!(slot in this.#slots)) throw new IoError(`AEAD slot ${slot} is out of range`, 'EINVAL', 'setKey');
    if (key.length !== KEY_BYTES)
      throw new IoError(`a ${cipher} key has ${KEY_BYTES} bytes`, 'EINVAL', 'setKey');
    this.clearKey(slot);
    this.#slots[slot] = { algorithm: cipher as CipherGCMTypes, key: Uint8Array.from(key) };
  }

  clearKey(slot: number): void {
    this.#slots[slot]?.key.fill(0);
    if (slot in this.#slots) this.#slots[slot] = undefined;
  }

  seal(batch: PacketBatch, order: Int32Array, n: number): void {
    for (let k = 0; k < n; k++) {
      const i = order[k];
      const slot = this.#slots[batch.key[i]];
      const end = batch.offset[i] + batch.length[i];
      const possible = slot && batch.length[i] >= RECORD_HEADER && end + RECORD_TAG <= batch.bytes.length;
      batch.status[i] = possible ? 1 : 0;
      if (!possible) continue;
      sealRecord(slot, batch.bytes, batch.offset[i], end);
      batch.length[i] += RECORD_TAG;
    }
  }

  open(batch: PacketBatch, order: Int32Array, n: number): number {
    let authentic = 0;
    for (let k = 0; k < n; k++) {
      const i = order[k];
      const slot = this.#slots[batch.key[i]];
      const end = batch.offset[i] + batch.length[i];
      const possible = slot && batch.length[i] >= RECORD_HEADER + RECORD_TAG && end <= batch.bytes.length;
      const opened = possible && openRecord(slot, batch.bytes, batch.offset[i], end - RECORD_TAG);
      batch.status[i] = opened ? 1 : 0;
      if (!opened) continue;
      batch.length[i] -= RECORD_TAG;
      authentic++;
    }
    return authentic;
  }
}

function nonceOf(header: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(NONCE_BYTES);
  nonce.set(header.subarray(RECORD_HEADER - (NONCE_BYTES - NONCE_COUNTER)), NONCE_COUNTER);
  return nonce;
}

function sealRecord(slot: Slot, bytes: Uint8Array, start: number, end: number): void {
  const header = bytes.subarray(start, start + RECORD_HEADER);
  const body = bytes.subarray(start + RECORD_HEADER, end);
  const cipher = createCipheriv(slot.algorithm, slot.key, nonceOf(header), { authTagLength: RECORD_TAG });
  cipher.setAAD(header, { plaintextLength: body.length });
  body.set(cipher.update(body));
  cipher.final();
  bytes.set(cipher.getAuthTag(), end);
}

/** Leaves the record as it is unless it is authentic. */
function openRecord(slot: Slot, bytes: Uint8Array, start: number, end: number): boolean {
  const header = bytes.subarray(start, start + RECORD_HEADER);
  const body = bytes.subarray(start + RECORD_HEADER, end);
  const decipher = createDecipheriv(slot.algorithm, slot.key, nonceOf(header), { authTagLength: RECORD_TAG });
  decipher.setAAD(header, { plaintextLength: body.length });
  decipher.setAuthTag(bytes.subarray(end, end + RECORD_TAG));
  const plain = decipher.update(body);
  try {
    decipher.final();
  } catch {
    return false;
  }
  body.set(plain);
  return true;
}
