/**
 * What the overlay's names mean: `NODE.ZONE` has the addresses of the node's certificate, and an overlay address has its node's name
 * (RFC 1035 §3.5, RFC 3596 §2.5). Pure: a finished picture, made anew when certificates come or go.
 */
export interface ZoneNode {
  readonly name: string;
  /** Canonical texts. */
  readonly addresses: readonly {
    readonly family: 4 | 6;
    readonly text: string;
    readonly bytes: Uint8Array;
  }[];
}

export interface ZonePrefix {
  readonly bytes: Uint8Array;
  /** Bits. */
  readonly length: number;
}

export interface Addresses {
  readonly v4: readonly string[];
  readonly v6: readonly string[];
}

/** What a name is: outside (of another's zones), unknown, the top of a zone, a node's addresses, or an address's node. */
export type Found =
  | { readonly kind: 'outside' }
  /** Nothing by that name; `zone` is its zone's top. `isParent`: there is something below it. */
  | { readonly kind: 'unknown'; readonly zone: string; readonly isParent: boolean }
  | { readonly kind: 'top'; readonly zone: string }
  | { readonly kind: 'node'; readonly zone: string; readonly addresses: Addresses }
  | { readonly kind: 'address'; readonly zone: string; readonly name: string };

/** More zones than this aren't announced for one prefix: whoever looks addresses up there asks elsewhere, as without us. */
const MAX_REVERSE_ZONES = 16;
/** Bits of a label of a reverse name. */
const STEP = { 4: 8, 16: 4 } as const;

export class Zone {
  /** Tops of the reverse zones, without the last dot. */
  readonly reverse: readonly string[];
  private readonly nodes = new Map<string, Addresses>();
  private readonly pointers = new Map<string, string>();
  /** Names that only lead to others. */
  private readonly parents = new Set<string>();

  /** `top`: the zone's name without dots around it, lower case. `overlay`: the prefixes whose reverse names are ours. */
  constructor(
    readonly top: string,
    nodes: readonly ZoneNode[],
    overlay: readonly ZonePrefix[],
  ) {
    this.reverse = overlay.flatMap(reverseZones);
    for (const { name, addresses } of nodes) {
      const of = (family: 4 | 6) => addresses.filter((a) => a.family === family).map(({ text }) => text);
      this.add(`${name}.${top}`, top);
      this.nodes.set(`${name}.${top}`, { v4: of(4), v6: of(6) });
      for (const { bytes } of addresses) this.point(reverseName(bytes), `${name}.${top}`);
    }
  }

  /** `name` without the last dot, in any case. */
  find(name: string): Found {
    const lower = name.toLowerCase();
    const zone = [this.top, ...this.reverse].find((top) => lower === top || lower.endsWith(`.${top}`));
    if (zone === undefined) return { kind: 'outside' };
    const addresses = this.nodes.get(lower);
    if (addresses !== undefined) return { kind: 'node', zone, addresses };
    const pointer = this.pointers.get(lower);
    if (pointer !== undefined) return { kind: 'address', zone, name: pointer };
    if (lower === zone) return { kind: 'top', zone };
    return { kind: 'unknown', zone, isParent: this.parents.has(lower) };
  }

  private point(reverse: string, name: string): void {
    const zone = this.reverse.find((top) => reverse === top || reverse.endsWith(`.${top}`));
    if (zone === undefined) return;
    this.pointers.set(reverse, name);
    this.add(reverse, zone);
  }

  /** Notes what lies between a name and its zone (RFC 8020: such a name exists, with nothing at it). */
  private add(name: string, zone: string): void {
    for (let dot = name.indexOf('.'); dot >= 0; dot = name.indexOf('.', dot + 1)) {
      const parent = name.slice(dot + 1);
      if (parent === zone) return;
      this.parents.add(parent);
    }
  }
}

/** `1.0.77.10.in-addr.arpa`, or 32 nibbles and `ip6.arpa`. */
export function reverseName(address: Uint8Array): string {
  return [...labels(address)].reverse().concat(suffixOf(address)).join('.');
}

/** The zones that make up a prefix: one where it ends between two labels, else one for each value of the label that it cuts. */
function reverseZones({ bytes, length }: ZonePrefix): string[] {
  const step = STEP[bytes.length as 4 | 16];
  const whole = Math.floor(length / step);
  const head = labels(bytes).slice(0, whole);
  const cut = length - whole * step;
  const zone = (names: string[]) => [...names].reverse().concat(suffixOf(bytes)).join('.');
  if (cut === 0) return [zone(head)];
  const count = 1 << (step - cut);
  if (count > MAX_REVERSE_ZONES) return [];
  const base = step === 8 ? bytes[whole] : (bytes[whole >> 1] >> (whole % 2 === 0 ? 4 : 0)) & 15;
  return Array.from({ length: count }, (_, k) => zone([...head, (base + k).toString(step === 8 ? 10 : 16)]));
}

/** Octets in decimal, or nibbles in hexadecimal, the most significant first. */
function labels(address: Uint8Array): string[] {
  if (address.length === 4) return [...address].map(String);
  return [...address].flatMap((byte) => [(byte >> 4).toString(16), (byte & 15).toString(16)]);
}

function suffixOf(address: Uint8Array): string {
  return address.length === 4 ? 'in-addr.arpa' : 'ip6.arpa';
}
