/**
 * From a file to a Config:
 *   1. read the file;
 *   2. parse YAML, keeping where each node stands;
 *   3. check it against the schema, and say of each problem where it is and what would be right;
 *   4. resolve paths and the credentials directory.
 */
import { readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { isMap, isPair, isScalar, LineCounter, parseDocument } from 'yaml';
import type { Document, Node } from 'yaml';
import type { z } from 'zod';
import type { Config } from './config.js';
import { ConfigError } from './errors.js';
import type { ConfigProblem } from './errors.js';
import type { Allowed } from '../../intercept/access.js';
import { SERVICE_NAMES } from '../../intercept/services.js';
import { nearest } from './nearest.js';
import { keyPaths, NOT_YET, objectKeys, schema } from './schema.js';
import type { ParsedFile } from './schema.js';

type Path = readonly PropertyKey[];

/** Throws ConfigError, with every problem found. `env` supplies CREDENTIALS_DIRECTORY. */
export function loadConfig(file: string, env: NodeJS.ProcessEnv = process.env): Config {
  const absolute = resolve(file);
  let text: string;
  try {
    text = readFileSync(absolute, 'utf8');
  } catch (error) {
    throw new ConfigError([{ file, key: '', message: unreadable(error) }]);
  }
  return parseConfig(text, absolute, env, file);
}

/** `file` is what relative paths are relative to; `shownFile` is how messages name it. */
export function parseConfig(
  text: string,
  file: string,
  env: NodeJS.ProcessEnv = {},
  shownFile = file,
): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, version: '1.2' });
  const source = new Source(document, lines, shownFile);
  if (document.errors.length > 0) throw new ConfigError(source.syntaxProblems());
  const parsed = schema.safeParse(withoutNulls(document.toJS()) ?? {});
  if (!parsed.success)
    throw new ConfigError(inOrder(parsed.error.issues.flatMap((issue) => source.problems(issue))));
  return finish(parsed.data, file, source, env);
}

/** Key paths that a reload applies; every other key takes a restart. docs/configuration.md says the same. */
export const RELOADABLE: readonly string[] = [
  'peers',
  'mesh',
  'intercept.rules',
  'intercept.inbound',
  'services.default',
  'access',
  'links.outer_dscp',
  'links.split',
  'log.level',
];

/** Which keys differ between two configurations, apart by what a reload does with them. */
export function diffConfig(before: Config, after: Config): { applied: string[]; restart: string[] } {
  const leaves = [
    'node',
    ...[
      'pki.ca',
      'pki.cert',
      'pki.key',
      'listen.host',
      'listen.port',
      'tun.name',
      'tun.mtu',
      'peers',
      'mesh',
    ],
    ...[
      'intercept.mode',
      'intercept.participants',
      'intercept.fallback',
      'intercept.exit',
      'intercept.rules',
      'intercept.inbound',
      'services.default',
      'links.outer_dscp',
      'links.split',
    ],
    ...['names.enabled', 'names.zone', 'names.port'],
    ...['forward', 'access', 'control.socket', 'control.metrics', 'control.read', 'control.all', 'log.level'],
  ];
  const at = (config: Config, key: string): string => {
    const camel = key.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
    const [section, name] = camel.split('.') as [keyof Config, string?];
    const value: unknown = config[section];
    return JSON.stringify(name === undefined ? value : (value as Record<string, unknown>)[name]) ?? '';
  };
  const changed = leaves.filter((key) => at(before, key) !== at(after, key));
  return {
    applied: changed.filter((key) => RELOADABLE.includes(key)),
    restart: changed.filter((key) => !RELOADABLE.includes(key)),
  };
}

function inOrder(problems: ConfigProblem[]): ConfigProblem[] {
  return problems.sort((a, b) => a.line! - b.line! || a.column! - b.column!);
}

function unreadable(error: unknown): string {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return 'no such file; name the configuration with -c FILE';
  if (code === 'EACCES') return 'no permission to read it; run as root';
  if (code === 'EISDIR') return 'is a directory; name the configuration file in it';
  return `can't be read (${code ?? String(error)})`;
}

/** An empty `peers:` means what an absent one does. */
function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withoutNulls);
  if (value === null || typeof value !== 'object') return value ?? undefined;
  const entries = Object.entries(value).map(([key, child]) => [key, withoutNulls(child)] as const);
  return Object.fromEntries(entries.filter(([key, child]) => child !== undefined || !isKnownKey(key)));
}

const allKeys = new Set([...objectKeys().values()].flat());

/** Unknown keys stay, even without a value, so that the schema refuses them. */
function isKnownKey(key: string): boolean {
  return allKeys.has(key);
}

function finish(parsed: ParsedFile, file: string, source: Source, env: NodeJS.ProcessEnv): Config {
  const problems: ConfigProblem[] = [];
  const credentials = env['CREDENTIALS_DIRECTORY'];
  const pkiPath = (key: 'ca' | 'cert' | 'key'): string => {
    const value = parsed.pki[key].replaceAll('${CREDENTIALS_DIRECTORY}', credentials ?? '');
    if (value !== parsed.pki[key] && credentials === undefined) {
      const message =
        'CREDENTIALS_DIRECTORY is set only under systemd, with LoadCredential=; name a file instead';
      problems.push(source.problem(['pki', key], message));
    } else if (value.includes('${')) {
      problems.push(source.problem(['pki', key], 'only ${CREDENTIALS_DIRECTORY} is filled in here'));
    }
    return isAbsolute(value) ? value : resolve(dirname(file), value);
  };
  const pki = { ca: pkiPath('ca'), cert: pkiPath('cert'), key: pkiPath('key') };
  parsed.peers.forEach((peer, index) => {
    const first = parsed.peers.findIndex(({ name }) => name === peer.name);
    if (first !== index)
      problems.push(source.problem(['peers', index, 'name'], `"${peer.name}" is listed twice`));
    if (peer.name === parsed.node) {
      problems.push(
        source.problem(['peers', index, 'name'], `"${peer.name}" is this node itself; remove the entry`),
      );
    }
  });
  if (problems.length > 0) throw new ConfigError(problems);
  const { metrics, read, all } = parsed.control;
  const { overlay, services } = parsed.access;
  const access = {
    overlay,
    services: Object.fromEntries(
      SERVICE_NAMES.flatMap((name, number) => (services[name] ? [[number, services[name]]] : [])),
    ) as Record<number, Allowed>,
  };
  const socket = resolve(dirname(file), parsed.control.socket);
  const links = { outerDscp: parsed.links.outer_dscp, split: parsed.links.split };
  const linesOf = (key: 'rules' | 'inbound') =>
    (parsed.intercept[key] ?? []).map((_, i) => source.problem(['intercept', key, i], '').line ?? 0);
  const lines = { rules: linesOf('rules'), inbound: linesOf('inbound') };
  return {
    ...parsed,
    file,
    lines,
    pki,
    links,
    access,
    control: { socket, ...(metrics && { metrics }), read, all },
  };
}

/** A parsed document and where its nodes stand. */
class Source {
  constructor(
    private readonly document: Document,
    private readonly lines: LineCounter,
    private readonly file: string,
  ) {}

  syntaxProblems(): ConfigProblem[] {
    return this.document.errors.map((error) => {
      const { line, col } = this.lines.linePos(error.pos[0]);
      const message =
        error.code === 'DUPLICATE_KEY' ? 'this key stands here twice' : `YAML: ${error.message}`;
      return { file: this.file, line, column: col, key: '', message };
    });
  }

  problem(path: Path, message: string): ConfigProblem {
    return { file: this.file, ...this.position(path), key: formatPath(path), message };
  }

  problems(issue: z.core.$ZodIssue): ConfigProblem[] {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key) => this.problem([...issue.path, key], unknownKey(issue.path, key)));
    }
    const path = this.written(issue.path);
    return [this.problem(path, this.messageOf(issue, path))];
  }

  /** The schema makes a list of one value; in the file it has no index. */
  private written(path: Path): Path {
    const last = path.length - 1;
    return typeof path[last] === 'number' && isScalar(this.document.getIn(path.slice(0, last), true))
      ? path.slice(0, last)
      : path;
  }

  private messageOf(issue: z.core.$ZodIssue, path: Path): string {
    const value: unknown = this.document.getIn(path);
    const missing = value === undefined || value === null;
    if (missing && path.length > 0) return 'is missing';
    if (issue.code === 'invalid_type') return `must be ${article(issue.expected)}, not ${describe(value)}`;
    if (issue.code === 'invalid_union') return `must be text or a number, not ${describe(value)}`;
    return issue.message;
  }

  /** Where a key stands, or its value in a list, or else the nearest thing around it that exists. */
  private position(path: Path): { line: number; column: number } {
    for (let depth = path.length; depth > 0; depth--) {
      const offset = this.offsetOf(path.slice(0, depth));
      if (offset !== null) {
        const { line, col } = this.lines.linePos(offset);
        return { line, column: col };
      }
    }
    return { line: 1, column: 1 };
  }

  private offsetOf(path: Path): number | null {
    const parent: unknown =
      path.length === 1 ? this.document.contents : this.document.getIn(path.slice(0, -1), true);
    const last = path[path.length - 1];
    if (isMap(parent)) {
      const pair = parent.items.find(({ key }) => isScalar(key) && String(key.value) === String(last));
      if (pair !== undefined && isPair(pair)) return (pair.key as Node).range?.[0] ?? null;
    }
    const node = this.document.getIn(path, true) as Node | undefined;
    return node?.range?.[0] ?? null;
  }
}

function formatPath(path: Path): string {
  return path.reduce<string>((text, part) => {
    if (typeof part === 'number') return `${text}[${part}]`;
    return text === '' ? String(part) : `${text}.${String(part)}`;
  }, '');
}

function unknownKey(path: Path, key: string): string {
  const pattern = formatPath(path).replace(/\[\d+\]/g, '[]');
  const full = pattern === '' ? key : `${pattern}.${key}`;
  if (NOT_YET.has(full)) return "isn't available in this version";
  const siblings = objectKeys().get(pattern) ?? [];
  const near = nearest(key, siblings);
  if (near !== null) return `unknown key; did you mean "${near}"?`;
  const elsewhere = keyPaths().find(
    (candidate) => candidate.endsWith(`.${key}`) && !candidate.includes('[]'),
  );
  if (elsewhere !== undefined) return `unknown key; did you mean ${elsewhere}?`;
  return `unknown key; known here: ${siblings.join(', ')}`;
}

function article(type: string): string {
  const names: Record<string, string> = {
    object: 'a section of keys',
    array: 'a list',
    string: 'text',
    int: 'a whole number',
  };
  return names[type] ?? `a ${type}`;
}

function describe(value: unknown): string {
  if (typeof value === 'string') return `the text "${value}"`;
  if (typeof value !== 'object') return String(value);
  return Array.isArray((value as { items?: unknown }).items) && !isMap(value)
    ? 'a list'
    : 'a section of keys';
}
