/** Reads a mesh file: what is written there, checked, with the line of whatever is wrong. */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { isMap, isNode, isScalar, LineCounter, parseDocument, type Document } from 'yaml';
import { z } from 'zod';
import { wrongUse } from './errors.js';
import { mergeKeys, type AgentKeys } from './keys.js';
import {
  defaultQueueMs,
  lossConflict,
  parseBurst,
  parseDuration,
  parseLoss,
  parseRate,
  type Shape,
} from './quantity.js';

export interface FileNode {
  readonly name: string;
  /** The overlay links to configure; absent: every neighbour. */
  readonly peers?: readonly string[];
  /** `false`: no agent here; else keys merged into this node's configuration. */
  readonly agent: false | AgentKeys;
}

export interface FileLink {
  readonly between: readonly [string, string];
  readonly shape: Shape;
  readonly mtu: number;
}

export interface MeshFile {
  readonly name: string;
  readonly nodes: readonly FileNode[];
  readonly links: readonly FileLink[];
  /** Seeds every link's random losses; absent: a new one each time. */
  readonly seed?: number;
}

type Path = readonly PropertyKey[];

/** @throws MeshError (exit code 2) naming file, line and remedy. */
export function readMeshFile(path: string): MeshFile {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw wrongUse(`${path}: can't be read: ${(error as Error).message}`);
  }
  return parseMeshFile(text, path);
}

/** `origin` is the file's name, for messages and for the name of a mesh that gives itself none. */
export function parseMeshFile(text: string, origin: string): MeshFile {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const fault = document.errors[0];
  if (fault !== undefined) {
    throw wrongUse(`${origin}:${lines.linePos(fault.pos[0]).line}: ${oneLine(fault.message)}`);
  }
  const refuse = (path: Path, message: string): never => {
    throw wrongUse(`${origin}:${lineOf(document, lines, path)}: ${message}`);
  };
  const result = schema.safeParse(document.toJS());
  if (!result.success) return refuse(...explain(result.error.issues[0]!));
  const file = assemble(result.data, origin);
  checkReferences(file, refuse);
  return file;
}

/** Text or number as `parse` understands it; its complaint becomes the issue. */
const quantity = <T>(parse: (text: string) => T | string): z.ZodType<T> =>
  z.union([z.string(), z.number()], { error: 'must be text or a number' }).transform((value, context): T => {
    const parsed = parse(String(value));
    if (typeof parsed !== 'string') return parsed;
    context.addIssue({ code: 'custom', message: parsed });
    return z.NEVER;
  }) as unknown as z.ZodType<T>;

const nodeName = z
  .string({ error: 'must be a name' })
  .regex(
    /^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$/i,
    'is no node name: letters, digits, dots and dashes inside',
  );
const agentKeys = z.record(z.string(), z.unknown(), {
  error: 'must be false or keys of the agent’s configuration',
});
const agent = z.union([z.boolean(), z.null().transform(() => true), agentKeys], {
  error: 'must be false or keys of the agent’s configuration',
});
const noKeys = z.null().transform(() => ({}));

const schema = z.strictObject({
  name: z
    .string({ error: 'must be text' })
    .regex(
      /^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$/i,
      'is no mesh name: letters, digits and dashes inside, at most 32',
    )
    .optional(),
  nodes: z.record(
    nodeName,
    z.union([noKeys, z.strictObject({ peers: z.array(nodeName).optional(), agent: agent.optional() })]),
    { error: 'must name the nodes, as in {a: {}, b: {}}' },
  ),
  links: z
    .array(
      z.strictObject({
        between: z.tuple([nodeName, nodeName], { error: 'must name two nodes, as in [a, b]' }),
        delay: quantity(parseDuration).optional(),
        loss: quantity(parseLoss).optional(),
        burst: quantity(parseBurst).optional(),
        rate: quantity(parseRate).optional(),
        queue: quantity(parseDuration).optional(),
        mtu: z
          .int({ error: 'must be a number of bytes' })
          .min(1280, 'must be 1280 or more, which IPv6 needs')
          .max(65_535, 'must be 65535 or less')
          .optional(),
      }),
      { error: 'must be a list of links' },
    )
    .nullish(),
  agent: agent.optional(),
  seed: z.int({ error: 'must be a whole number' }).min(0, 'must be 0 or more').optional(),
});
type Parsed = z.infer<typeof schema>;

function assemble(parsed: Parsed, origin: string): MeshFile {
  const common = parsed.agent ?? true;
  const nodes = Object.entries(parsed.nodes).map(([name, node]): FileNode => {
    const { peers, agent: own } = node as { peers?: string[]; agent?: boolean | AgentKeys };
    return { name, ...(peers && { peers }), agent: mergeAgent(common, own ?? true) };
  });
  const links = (parsed.links ?? []).map((link): FileLink => ({
    between: link.between as [string, string],
    mtu: link.mtu ?? 1500,
    shape: {
      delayMs: link.delay ?? 0,
      loss: link.loss ?? 0,
      burst: link.burst ?? null,
      rateBps: link.rate ?? null,
      queueMs: link.queue ?? defaultQueueMs,
    },
  }));
  const name = parsed.name ?? basename(origin).replace(/\.[^.]*$/, '');
  return { name, nodes, links, ...(parsed.seed !== undefined && { seed: parsed.seed }) };
}

function mergeAgent(common: boolean | AgentKeys, own: boolean | AgentKeys): false | AgentKeys {
  if (common === false || own === false) return false;
  return mergeKeys(common === true ? {} : common, own === true ? {} : own);
}

/** What the schema can't see: that names mean nodes, and that no link is there twice. */
function checkReferences(file: MeshFile, refuse: (path: Path, message: string) => never): void {
  const known = new Set(file.nodes.map((node) => node.name));
  if (known.size === 0) refuse(['nodes'], 'nodes: a mesh needs at least one');
  const check = (name: string, path: Path): void => {
    if (!known.has(name))
      refuse(path, `${pathText(path)}: there is no node "${name}"; nodes are ${[...known].join(', ')}`);
  };
  for (const node of file.nodes) {
    node.peers?.forEach((peer, index) => {
      check(peer, ['nodes', node.name, 'peers', index]);
      if (peer === node.name)
        refuse(['nodes', node.name, 'peers', index], `node ${peer} can't be its own peer`);
    });
  }
  const seen = new Set<string>();
  file.links.forEach((link, index) => {
    link.between.forEach((name, end) => check(name, ['links', index, 'between', end]));
    const [a, b] = link.between;
    if (a === b)
      refuse(['links', index, 'between'], `links[${index}]: a link needs two nodes, not ${a} twice`);
    const pair = [a, b].sort().join(' ');
    if (seen.has(pair))
      refuse(['links', index], `links[${index}]: there is already a link between ${a} and ${b}`);
    seen.add(pair);
    const conflict = lossConflict(link.shape);
    if (conflict !== undefined) refuse(['links', index, 'loss'], `links[${index}]: ${conflict}`);
  });
}

function explain(issue: z.core.$ZodIssue): [Path, string] {
  if (issue.code === 'unrecognized_keys') {
    const path = [...issue.path, issue.keys[0]!];
    return [
      path,
      `unknown key "${issue.keys[0]}"${issue.path.length > 0 ? ` in ${pathText(issue.path)}` : ''}`,
    ];
  }
  if (issue.code === 'invalid_union') {
    const inner = issue.errors.flat().find((one) => one.path.length > 0 || one.code === 'unrecognized_keys');
    if (inner !== undefined)
      return explain({ ...inner, path: [...issue.path, ...inner.path] } as z.core.$ZodIssue);
  }
  if (issue.code === 'invalid_key')
    return [issue.path, `${pathText(issue.path)} ${issue.issues[0]!.message}`];
  if (issue.path.length === 0) return [issue.path, 'must be a map with name, nodes and links'];
  return [issue.path, `${pathText(issue.path)}: ${issue.message}`];
}

function pathText(path: Path): string {
  return path
    .map((step, index) => (typeof step === 'number' ? `[${step}]` : `${index > 0 ? '.' : ''}${String(step)}`))
    .join('');
}

/** The line of the deepest part of `path` that the document has; of a map's entry, that of its key. */
function lineOf(document: Document, lines: LineCounter, path: Path): number {
  for (let depth = path.length; depth > 0; depth--) {
    const holder = document.getIn(path.slice(0, depth - 1), true);
    const key = path[depth - 1];
    if (isMap(holder)) {
      const pair = holder.items.find((item) => isScalar(item.key) && String(item.key.value) === key);
      if (pair !== undefined && isScalar(pair.key)) return lines.linePos(pair.key.range![0]).line;
    } else {
      const node = document.getIn(path.slice(0, depth), true);
      if (isNode(node) && node.range) return lines.linePos(node.range[0]).line;
    }
  }
  return 1;
}

const oneLine = (text: string): string => text.replace(/\s+/g, ' ').trim();
