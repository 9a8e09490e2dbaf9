/** What the host is to lead into the device beyond the overlay's prefixes, by what the routing database says. Pure. */
import { parseAddress } from '../crypto/identity/address.js';
import { nodeIdOf } from '../crypto/identity/name.js';
import type { Destinations } from '../tun/host.js';
import { PrefixTable } from '../overlay/route/prefix-table.js';
import { ROLE_EXIT, type TableNode } from '../overlay/route/tables.js';
import type { Config } from './config/config.js';

/** `nodes` with this node, `self`, among them; `absent`: real addresses of others, known from before. Each list is sorted. */
export function destinationsOf(
  nodes: readonly TableNode[],
  self: number,
  { participants, fallback, exit }: Pick<Config['intercept'], 'participants' | 'fallback' | 'exit'>,
  absent: readonly string[] = [],
): Destinations {
  const others = nodes.filter(({ certificate }) => certificate.nodeId !== self);
  // Where packets may go directly, a node that the overlay can't reach is reached so.
  const within = others.filter(
    ({ ways }) => fallback === 'refuse' || ways.some(({ nextHop }) => nextHop !== 0),
  );
  const exitNode = exit === undefined ? 0 : nodeIdOf(exit);
  const real = participants ? texts(within.flatMap(({ certificate }) => certificate.real ?? [])) : [];
  const withheld = participants && fallback === 'refuse' ? absent : [];
  return {
    prefixes: texts(others.flatMap(({ certificate }) => certificate.routes)),
    real,
    withheld: [...new Set(withheld)].filter((address) => !real.includes(address)).sort(),
    exit: within.some(
      ({ certificate: { nodeId, roles } }) => nodeId === exitNode && roles?.includes(ROLE_EXIT) === true,
    ),
  };
}

/** Certificates read from the wire have texts beside bytes; those of simulations have none. */
function texts(items: readonly object[]): string[] {
  return items.flatMap((item) => ('text' in item ? String(item.text) : [])).sort();
}

/** A table that holds these addresses, all of owner 0. */
export function addressTable(texts: readonly string[]): PrefixTable {
  return PrefixTable.build(
    texts.map((text) => {
      const { bytes } = parseAddress(text)!;
      return { bytes, length: 8 * bytes.length, owner: 0 };
    }),
  );
}
