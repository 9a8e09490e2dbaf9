/**
 * Cookies: under load the responder asks an initiator to show that it receives at the address it sends from, and keeps no state for that.
 * The cookie is a MAC of the source under a secret that changes every two minutes (the idea is WireGuard's, section 5.4.7 of its paper). It
 * travels sealed under the network key and bound to the init's MAC, so that only who saw the init can answer it.
 */
import type { NoiseCrypto } from '../primitives.js';
import { equalBytes, expand } from '../primitives.js';
import {
  COOKIE_SALT_BYTES,
  HEADER_BYTES,
  INIT_COOKIE_MAC,
  INIT_MAC,
  MAC_BYTES,
  TYPE_COOKIE,
  encodeDatagram,
  mac,
  viewOf,
} from './datagram.js';

/** µs. */
export const COOKIE_LIFETIME = 120_000_000;
const SECRET_BYTES = 32;
const LABEL = new TextEncoder().encode('causeway cookie v1');
const NO_MAC = new Uint8Array(MAC_BYTES);

/** The responder's side. */
export class CookieJar {
  private current: Uint8Array | undefined;
  private previous: Uint8Array | undefined;
  private changeAt = 0;

  constructor(
    private readonly crypto: NoiseCrypto,
    private readonly random: (bytes: number) => Uint8Array,
  ) {}

  /** Whether the init's cookie MAC shows that `source` received a cookie of the last two to four minutes. `now` in µs. */
  proves(init: Uint8Array, source: string, now: number): boolean {
    const given = init.subarray(INIT_COOKIE_MAC);
    if (equalBytes(given, NO_MAC)) return false;
    this.rotate(now);
    const signed = init.subarray(0, INIT_COOKIE_MAC);
    return [this.current, this.previous].some(
      (secret) =>
        secret !== undefined && equalBytes(mac(this.crypto, this.cookieOf(secret, source), signed), given),
    );
  }

  /** The cookie datagram that answers an init made with `networkKey`. */
  reply(init: Uint8Array, networkKey: Uint8Array, source: string, now: number): Uint8Array {
    this.rotate(now);
    const salt = this.random(COOKIE_SALT_BYTES);
    const key = expand(this.crypto, networkKey, LABEL, salt);
    const sealed = this.crypto.encrypt(key, 0, macOf(init), this.cookieOf(this.current!, source));
    const body = new Uint8Array(COOKIE_SALT_BYTES + sealed.length);
    body.set(salt);
    body.set(sealed, COOKIE_SALT_BYTES);
    return encodeDatagram(TYPE_COOKIE, viewOf(init).getUint32(4), body);
  }

  clear(): void {
    this.current?.fill(0);
    this.previous?.fill(0);
    this.current = this.previous = undefined;
  }

  private rotate(now: number): void {
    if (this.current !== undefined && now < this.changeAt) return;
    this.previous?.fill(0);
    const fresh = now < this.changeAt + COOKIE_LIFETIME;
    if (!fresh) this.current?.fill(0);
    this.previous = fresh ? this.current : undefined;
    this.current = this.random(SECRET_BYTES);
    this.changeAt = now + COOKIE_LIFETIME;
  }

  private cookieOf(secret: Uint8Array, source: string): Uint8Array {
    return mac(this.crypto, secret, new TextEncoder().encode(source));
  }
}

/** The initiator's side: the cookie in a cookie datagram that answers `init`, or undefined where it doesn't. */
export function openCookie(
  crypto: NoiseCrypto,
  networkKey: Uint8Array,
  init: Uint8Array,
  datagram: Uint8Array,
): Uint8Array | undefined {
  const salt = datagram.subarray(HEADER_BYTES, HEADER_BYTES + COOKIE_SALT_BYTES);
  const key = expand(crypto, networkKey, LABEL, salt);
  return crypto.decrypt(key, 0, macOf(init), datagram.subarray(HEADER_BYTES + COOKIE_SALT_BYTES));
}

/** A copy of the init with the cookie's MAC in it; everything before stays as it was. */
export function withCookie(crypto: NoiseCrypto, init: Uint8Array, cookie: Uint8Array): Uint8Array {
  const out = init.slice();
  out.set(mac(crypto, cookie, init.subarray(0, INIT_COOKIE_MAC)), INIT_COOKIE_MAC);
  return out;
}

const macOf = (init: Uint8Array): Uint8Array => init.subarray(INIT_MAC, INIT_COOKIE_MAC);
