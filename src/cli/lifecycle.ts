/** `causeway up | down | check | reload`: an agent's beginning, end and configuration. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import type { Config } from '../agent/config/config.js';
import { formatProblem } from '../agent/config/errors.js';

import { ControlClient } from '../control/client.js';
import { ControlError } from '../control/errors.js';
import { clientOf, json, socketOf, withJson, withSocket } from './context.js';
import type { CommonOptions, Output } from './context.js';
import { CliError, EXIT } from './errors.js';

/** Ms that an agent may take to end after it was told to. */
const STOP_PATIENCE = 15_000;
const STOP_POLL = 50;

/** Commands outside systemd need the configuration, but not the credentials that only the unit has. */
const LENIENT_ENV = { CREDENTIALS_DIRECTORY: '/run/credentials', ...process.env };

interface CheckOptions extends CommonOptions {
  config: string;
}

export function registerLifecycle(program: Command, output: Output, exit: (code: number) => void): void {
  registerUp(program, exit);
  registerDown(program, output);
  registerCheck(program, output, exit);
  registerReload(program, output);
}

function registerUp(program: Command, exit: (code: number) => void): void {
  program
    .command('up')
    .description('run the agent in the foreground until it is told to stop')
    .requiredOption('-c, --config <file>', 'configuration file')
    .option('--plain', 'do without the native addon (slow; for hosts that cannot build it)', false)
    .action(async ({ config, plain }: { config: string; plain: boolean }) => {
      // Loaded here, so that the short commands start without the agent's whole weight.
      const { runAgent } = await import('../agent/main.js');
      exit(await runAgent({ configFile: config, plain }));
    });
}

function registerDown(program: Command, output: Output): void {
  const command = program
    .command('down')
    .description('stop the agent, and remove what one that crashed left on the host')
    .option('-c, --config <file>', 'configuration file')
    .option('--tun <name>', 'interface to clean up, where the configuration is gone or broken');
  withSocket(withJson(command)).action((options: DownOptions) => runDown(options, output));
}

function registerCheck(program: Command, output: Output, exit: (code: number) => void): void {
  const command = program
    .command('check')
    .description('check a configuration and the certificates it names, without starting anything')
    .requiredOption('-c, --config <file>', 'configuration file');
  withJson(command).action((options: CheckOptions) => runCheck(options, output, exit));
}

function registerReload(program: Command, output: Output): void {
  const command = program
    .command('reload')
    .description('have the agent read its configuration again')
    .option('-c, --config <file>', "configuration, to find the agent's socket in");
  withSocket(withJson(command)).action((options: ReloadOptions) => runReload(options, output));
}

interface DownOptions extends CommonOptions {
  config?: string;
  tun?: string;
}

async function runDown(options: DownOptions, { out, err }: Output): Promise<void> {
  const { tun, socket, file } = await downTarget(options, err);
  const stopped = await stopAgent(new ControlClient(socket), file);
  const { removeLeftovers } = await import('../tun/index.js');
  const removed = await removeLeftovers(tun);
  if (options.json === true) return out(json({ stopped, removed }));
  out(stopped ? 'stopped' : `no agent at ${socket}`);
  for (const what of removed) out(`removed ${what}`);
}

/** What to stop and clean: from the configuration, from the options where it can't be read, else from the agent itself. */
async function downTarget(
  options: DownOptions,
  err: (line: string) => void,
): Promise<{ tun: string; socket: string; file: string | undefined }> {
  const config =
    options.config === undefined ? undefined : await configOrTun(options.config, options.tun, err);
  const socket = options.socket ?? config?.control.socket ?? socketOf(options);
  const tun = options.tun ?? config?.tun.name ?? (await tunOf(new ControlClient(socket)));
  // Two configurations may name one socket; only the agent that runs this one is to stop.
  return { tun, socket, file: options.socket === undefined ? config?.file : undefined };
}

/** Undefined where the file is unusable, but the interface is known without it. */
async function configOrTun(
  file: string,
  tun: string | undefined,
  err: (line: string) => void,
): Promise<Config | undefined> {
  const { loadConfig } = await import('../agent/config/index.js');
  try {
    return loadConfig(file, LENIENT_ENV);
  } catch (error) {
    if (tun === undefined) {
      err('causeway: the configuration is unusable, and so says nothing of what to remove; add --tun NAME');
      throw error;
    }
    err(`causeway: going by --tun ${tun} alone, since ${file} is unusable`);
    return undefined;
  }
}

async function tunOf(client: ControlClient): Promise<string> {
  try {
    return (await client.status()).tun.name;
  } catch (error) {
    if (!(error instanceof ControlError) || error.code !== 'ENOAGENT') throw error;
    const message = `no agent at ${client.socketPath}; to clean up after one, name its configuration with -c FILE, or --tun NAME`;
    throw new CliError(message, EXIT.noAgent);
  }
}

/** Resolves when the agent's process has ended; false if there was none. */
async function stopAgent(client: ControlClient, file: string | undefined): Promise<boolean> {
  let pid: number;
  try {
    const status = await client.status();
    if (file !== undefined && status.configFile !== file) return false;
    ({ pid } = status);
    await client.stop();
  } catch (error) {
    if (error instanceof ControlError && error.code === 'ENOAGENT') return false;
    throw error;
  }
  const deadline = process.hrtime.bigint() + BigInt(STOP_PATIENCE) * 1_000_000n;
  while (isAlive(pid)) {
    if (process.hrtime.bigint() > deadline) {
      throw new CliError(
        `the agent (pid ${pid}) doesn't stop; end it with "kill -9 ${pid}", then run this again`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, STOP_POLL));
  }
  return true;
}

/** A process that has ended but that its parent hasn't asked about yet (a zombie) lives no more. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return !/^\) [ZX]/.test(stat.slice(stat.lastIndexOf(')')));
  } catch {
    return false;
  }
}

async function runCheck(
  { config: file, json: asJson }: CheckOptions,
  { out, err }: Output,
  exit: (code: number) => void,
): Promise<void> {
  const { examine, loadConfig, ruleProblems } = await import('../agent/config/index.js');
  const config = loadConfig(file);
  const { identity, problems: found } = examine(config, Date.now());
  const problems = [...ruleProblems(config, identity), ...found];
  const errors = problems.filter(({ level }) => level === 'error');
  if (asJson === true) out(json({ ok: errors.length === 0, node: config.node, problems }));
  else if (problems.length > 0) err(problems.map((problem) => formatProblem(problem)).join('\n'));
  if (errors.length > 0) return exit(EXIT.usage);
  const count = config.peers.length;
  if (asJson !== true) out(`${file}: good; node ${config.node}, ${count} peer${count === 1 ? '' : 's'}`);
}

interface ReloadOptions extends CommonOptions {
  config?: string;
}

async function runReload(options: ReloadOptions, { out }: Output): Promise<void> {
  const { config, socket } = options;
  const named = config === undefined || socket !== undefined ? options : { socket: await socketIn(config) };
  const result = await clientOf(named).reload();
  if (options.json === true) return out(json(result));
  if (result.applied.length > 0) out(`applied: ${result.applied.join(', ')}`);
  if (result.restart.length > 0)
    out(`changed, but in force only after a restart: ${result.restart.join(', ')}`);
  if (result.applied.length + result.restart.length === 0) out('nothing changed');
}

/** A configuration that the agent would refuse is refused here already, with the same lines. */
async function socketIn(file: string): Promise<string> {
  const { loadConfig } = await import('../agent/config/index.js');
  return loadConfig(file, LENIENT_ENV).control.socket;
}
