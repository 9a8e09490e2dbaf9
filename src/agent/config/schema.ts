/**
 * The shape of the file. Strict everywhere: a key that isn't here is refused. What the design names and this version doesn't have yet
 * is in NOT_YET, so that it is refused for what it is and not as a slip of the pen.
 */
import { isIP } from 'node:net';
import { z } from 'zod';
import { nodeNameProblem } from '../../crypto/identity/name.js';
import { cgroupsOf, MAX_CGROUPS } from '../../intercept/rules.js';
import type { NodeEnd, Rule, RulePrefix, UserGroup } from '../../intercept/rules.js';
import type { InboundRule } from '../../intercept/inbound.js';
import { DEFAULT_SERVICES, SERVICE_NAMES } from '../../intercept/services.js';
import { findGroup, findUser } from './accounts.js';
import { parseNamedEndpoint, parseRuleEnd } from './address.js';
import type { NamedEndpoint } from './config.js';
import {
  DEFAULT_MTU,
  DEFAULT_PORT,
  DEFAULT_SOCKET,
  DEFAULT_TUN,
  DEFAULT_ZONE,
  DNS_PORT,
  LOG_LEVELS,
  MAX_MTU,
  MESH_MODES,
  MIN_MTU,
} from './config.js';
import { PROTOCOLS } from './protocols.js';

/** Key paths of the design that later versions bring. */
export const NOT_YET: ReadonlySet<string> = new Set(['pki.crl']);

const notYet = (what: string): string => `${what} isn't available in this version`;

const name = z.string().superRefine((text, context) => {
  const problem = nodeNameProblem(text);
  if (problem !== undefined) context.addIssue(problem);
});

const port = z
  .int('a port is a whole number')
  .min(1, 'a port is 1 to 65535')
  .max(65535, 'a port is 1 to 65535');

function endpoint(local: boolean): z.ZodType<NamedEndpoint> {
  return z.string().transform((text, context) => {
    const parsed = parseNamedEndpoint(text, local);
    if (parsed !== null) return parsed;
    context.addIssue(
      `"${text}" is no endpoint; write address:port, such as 192.0.2.2:7100 or [2001:db8::2]:7100`,
    );
    return z.NEVER;
  });
}

const end = z.string().transform((text, context): RulePrefix | NodeEnd => {
  const parsed = parseRuleEnd(text);
  if (!('refusal' in parsed)) return parsed;
  context.addIssue(parsed.refusal);
  return z.NEVER;
});

/** A user of this host by name or number. */
const user = z.union([z.string(), z.number()]).transform((value, context): number => {
  const found = findUser(value);
  if (found !== undefined) return found;
  context.addIssue(`this host has no user "${value}"`);
  return z.NEVER;
});

const userGroup = z.union([z.string(), z.number()]).transform((value, context): UserGroup => {
  const found = findGroup(value);
  if (found !== undefined) return found;
  context.addIssue(`this host has no group "${value}"`);
  return z.NEVER;
});

/** What nft could take for more than one word isn't let through. */
const cgroup = z
  .string()
  .regex(
    /^\/?[\w@:.\\-]+(\/[\w@:.\\-]+)*\/?$/,
    'is no cgroup; write its path below /sys/fs/cgroup, such as system.slice/nginx.service',
  )
  .transform((text) => text.replace(/^\/|\/$/g, ''));

const protocol = z.union([z.string(), z.number()]).transform((value, context): readonly number[] => {
  if (typeof value === 'string' && Object.hasOwn(PROTOCOLS, value)) return PROTOCOLS[value];
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= 255) return [value];
  context.addIssue(
    `"${value}" is no protocol; use ${Object.keys(PROTOCOLS).join(', ')} or a number 0 to 255`,
  );
  return z.NEVER;
});

const portRange = z
  .union([z.number(), z.string()])
  .transform((value, context): { first: number; last: number } => {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(String(value));
    const first = Number(match?.[1]);
    const last = Number(match?.[2] ?? match?.[1]);
    if (match !== null && first <= last && last <= 65535) return { first, last };
    context.addIssue(`"${value}" is no port; use 0 to 65535 or a range such as 8000-8099`);
    return z.NEVER;
  });

/** One value or a list of them. */
function oneOrMore<T>(item: z.ZodType<T>): z.ZodType<T[]> {
  return z.preprocess(
    (value) => (Array.isArray(value) ? value : [value]),
    z.array(item),
  ) as unknown as z.ZodType<T[]>;
}

const LATER_SERVICES = ['intrusion-tolerant'];

const service = z.string().transform((text, context): number => {
  const known = (SERVICE_NAMES as readonly string[]).indexOf(text);
  if (known >= 0) return known;
  const later = LATER_SERVICES.includes(text);
  context.addIssue(
    later ? notYet(`service ${text}`) : `"${text}" is no service; use ${SERVICE_NAMES.join(', ')}`,
  );
  return z.NEVER;
});

const dscp = z.int('a DSCP is a whole number').min(0, 'a DSCP is 0 to 63').max(63, 'a DSCP is 0 to 63');

/** `none` is 0: class selector 0, best effort (RFC 2474 §4.1). */
const outerDscp = z.union([z.string(), z.number()]).transform((value, context): 'copy' | number => {
  if (value === 'copy') return value;
  if (value === 'none') return 0;
  if (dscp.safeParse(value).success) return Number(value);
  context.addIssue(`"${value}" is no choice; use none, copy or a DSCP, 0 to 63`);
  return z.NEVER;
});

/** Whom a packet goes to or comes from, and what it is: what every rule may ask. */
const packetMatch = {
  to: oneOrMore(end).optional(),
  from: oneOrMore(end).optional(),
  proto: protocol.optional(),
  port: oneOrMore(portRange).optional(),
  source_port: oneOrMore(portRange).optional(),
  dscp: dscp.optional(),
};

const ruleMatch = z
  .strictObject({
    ...packetMatch,
    user: oneOrMore(user).optional(),
    group: oneOrMore(userGroup).optional(),
    cgroup: oneOrMore(cgroup).optional(),
  })
  .prefault({});

type Written = Partial<z.output<typeof ruleMatch>>;

function refuseUnported(match: Written, context: z.core.$RefinementCtx): void {
  if (match.proto?.some((number) => [6, 17, 132].includes(number)) ?? false) return;
  for (const key of ['port', 'source_port'] as const) {
    if (match[key] === undefined) continue;
    const message = 'a port needs proto tcp, udp or sctp beside it';
    context.addIssue({ code: 'custom', path: ['match', key], message });
  }
}

function toMatch(written: Written): Rule['match'] {
  const {
    proto,
    port: ports,
    source_port: sourcePorts,
    user: users,
    group: groups,
    cgroup: cgroups,
  } = written;
  const { to, from, dscp: code } = written;
  return {
    ...(to && { to }),
    ...(from && { from }),
    ...(proto && { protocols: proto }),
    ...(ports && { ports }),
    ...(sourcePorts && { sourcePorts }),
    ...(code !== undefined && { dscp: code }),
    ...(users && { users }),
    ...(groups && { groups }),
    ...(cgroups && { cgroups }),
  };
}

const rule = z
  .strictObject({
    match: ruleMatch,
    do: z.enum(['overlay', 'direct', 'drop', 'reject'], 'use overlay, direct, drop or reject'),
    service: service.optional(),
  })
  .superRefine((value, context) => {
    if (value.do !== 'overlay' && value.service !== undefined) {
      context.addIssue({
        code: 'custom',
        path: ['service'],
        message: 'only what goes over the overlay has a service; remove the key',
      });
    }
    refuseUnported(value.match, context);
  })
  .transform(({ match, ...rest }): Rule => {
    const action = rest.do === 'overlay' ? { do: rest.do, service: rest.service } : { do: rest.do };
    return { match: toMatch(match), action };
  });

const inboundRule = z
  .strictObject({
    match: z.strictObject(packetMatch).prefault({}),
    do: z.enum(['allow', 'drop', 'reject'], { error: () => 'use allow, drop or reject' }),
  })
  .superRefine((value, context) => refuseUnported(value.match, context))
  .transform(({ match, do: action }): InboundRule => ({ match: toMatch(match), do: action }));

const rules = z.array(rule).superRefine((list, context) => {
  if (cgroupsOf(list).length > MAX_CGROUPS) context.addIssue(`name at most ${MAX_CGROUPS} cgroups`);
});

const path = z.string().min(1, 'is empty; name a file');

const allowed = z.strictObject({
  users: z.array(user).default([]),
  groups: z.array(userGroup).default([]),
});

const access = z
  .strictObject({
    overlay: allowed.optional(),
    services: z
      .strictObject({
        'best-effort': allowed.optional(),
        reliable: allowed.optional(),
        realtime: allowed.optional(),
        redundant: allowed.optional(),
      })
      .prefault({}),
  })
  .prefault({});

export const schema = z.strictObject({
  node: name,
  pki: z.strictObject({ ca: path, cert: path, key: path }),
  listen: z
    .strictObject({
      host: z
        .string()
        .refine((text) => isIP(text) !== 0, {
          error: (issue) => `"${String(issue.input)}" is no address; use "::" for every address of this host`,
        })
        .default('::'),
      port: port.default(DEFAULT_PORT),
    })
    .prefault({}),
  tun: z
    .strictObject({
      name: z
        .string()
        .regex(
          /^(?!\.\.?$)[^\s/:%]{1,15}$/,
          'an interface name has 1 to 15 characters, without spaces, "/", ":" and "%"',
        )
        .default(DEFAULT_TUN),
      mtu: z
        .int('a size in bytes is a whole number')
        .min(MIN_MTU, `IPv6 needs at least ${MIN_MTU} bytes; ${DEFAULT_MTU} suits the Internet`)
        .max(MAX_MTU, `at most ${MAX_MTU} bytes fit a 9000-byte network; ${DEFAULT_MTU} suits the Internet`)
        .default(DEFAULT_MTU),
    })
    .prefault({}),
  peers: z
    .array(
      z.strictObject({ name, endpoints: z.array(endpoint(false)).max(8, 'at most 8 endpoints').default([]) }),
    )
    .default([]),
  mesh: z.enum(MESH_MODES, { error: () => 'use configured or auto' }).default('configured'),
  intercept: z
    .strictObject({
      mode: z.enum(['split', 'full'], 'use split or full').default('split'),
      participants: z.boolean('use true or false').default(false),
      fallback: z.enum(['direct', 'refuse'], 'use direct or refuse').default('refuse'),
      exit: name.optional(),
      rules: rules.default([]),
      inbound: z.array(inboundRule).optional(),
    })
    .superRefine(({ mode, exit }, context) => {
      if (exit === undefined || mode === 'full') return;
      context.addIssue({ code: 'custom', path: ['exit'], message: 'an exit needs mode full beside it' });
    })
    .prefault({}),
  forward: z.strictObject({ masquerade: z.boolean('use true or false').default(true) }).optional(),
  services: z
    .strictObject({
      default: z
        .strictObject({
          tcp: service.default(DEFAULT_SERVICES.tcp),
          udp: service.default(DEFAULT_SERVICES.udp),
          other: service.default(DEFAULT_SERVICES.other),
        })
        .prefault({}),
    })
    .prefault({}),
  links: z
    .strictObject({ outer_dscp: outerDscp.default(0), split: z.boolean('use true or false').default(true) })
    .prefault({}),
  names: z
    .strictObject({
      enabled: z.boolean('use true or false').default(false),
      zone: z
        .string()
        .superRefine((text, context) => {
          const problem = nodeNameProblem(text);
          if (problem !== undefined) context.addIssue(problem.replace('node name', 'zone'));
        })
        .default(DEFAULT_ZONE),
      port: port.default(DNS_PORT),
    })
    .prefault({}),
  access,
  control: z
    .strictObject({
      socket: path.max(107, 'a socket path has at most 107 characters').default(DEFAULT_SOCKET),
      metrics: endpoint(true).optional(),
      read: allowed.optional(),
      all: allowed.optional(),
    })
    .prefault({}),
  log: z
    .strictObject({
      level: z.enum(LOG_LEVELS, { error: () => `use one of ${LOG_LEVELS.join(', ')}` }).default('info'),
    })
    .prefault({}),
});

export type ParsedFile = z.output<typeof schema>;

/** Keys of every object of the file by its path: `''`, `pki`, `peers[]`, `intercept.rules[].match` … */
export function objectKeys(root: z.ZodType = schema): Map<string, string[]> {
  const found = new Map<string, string[]>();
  collectKeys(root, '', found);
  return found;
}

/** Every key path of the file, sorted, such as `peers[].name`; objects themselves included. */
export function keyPaths(): string[] {
  const join = (path: string, key: string): string => (path === '' ? key : `${path}.${key}`);
  return [...objectKeys()].flatMap(([path, keys]) => keys.map((key) => join(path, key))).sort();
}

function collectKeys(node: z.ZodType, path: string, found: Map<string, string[]>): void {
  if (node instanceof z.ZodObject) {
    const shape = node.shape as Record<string, z.ZodType>;
    found.set(path, Object.keys(shape));
    for (const [key, child] of Object.entries(shape)) {
      collectKeys(child, path === '' ? key : `${path}.${key}`, found);
    }
  } else if (node instanceof z.ZodArray) {
    collectKeys(node.element as z.ZodType, `${path}[]`, found);
  } else if (node instanceof z.ZodPipe) {
    collectKeys(node.in as z.ZodType, path, found);
  } else if (node instanceof z.ZodOptional || node instanceof z.ZodDefault || node instanceof z.ZodPrefault) {
    collectKeys(node.unwrap() as z.ZodType, path, found);
  }
}
