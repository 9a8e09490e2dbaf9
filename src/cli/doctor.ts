/** `causeway doctor`: everything that could keep an agent from working, with and without one running. */
import type { Command } from 'commander';
import type { Config } from '../agent/config/config.js';
import { ConfigError } from '../agent/config/errors.js';
import type { Finding } from '../control/api.js';
import type { ControlClient } from '../control/client.js';
import { ControlError } from '../control/errors.js';
import { clientOf, json, withJson, withSocket } from './context.js';
import type { CommonOptions, Output } from './context.js';
import { EXIT } from './errors.js';
import { thisHost } from './host.js';
import type { Host } from './host.js';

interface DoctorOptions extends CommonOptions {
  config?: string;
}

export function registerDoctor(
  program: Command,
  output: Output,
  exit: (code: number) => void,
  host: Host = thisHost,
): void {
  const command = program
    .command('doctor')
    .description('look for what keeps the agent from working, and say what to do')
    .option('-c, --config <file>', "configuration to look at (default: the running agent's)");
  withSocket(withJson(command)).action(async (options: DoctorOptions) => {
    const findings = await diagnose(options, host);
    output.out(options.json === true ? json(findings) : renderFindings(findings));
    if (findings.some(({ level }) => level === 'error')) exit(EXIT.failed);
  });
}

async function diagnose(options: DoctorOptions, host: Host): Promise<Finding[]> {
  const findings: Finding[] = [];
  let config = await readConfig(options.config, findings);
  const client = clientOf(
    config === null || options.socket !== undefined ? options : { socket: config.control.socket },
  );
  const agent = await askAgent(client);
  if (agent.configFile !== undefined && options.config === undefined)
    config = await readConfig(agent.configFile, findings);
  const { checkHost } = await import('./checks.js');
  findings.push(...(await checkHost(host, config, agent.running)), ...agent.findings);
  return findings;
}

async function readConfig(file: string | undefined, findings: Finding[]): Promise<Config | null> {
  if (file === undefined) return null;
  const { loadConfig } = await import('../agent/config/index.js');
  try {
    return loadConfig(file, { CREDENTIALS_DIRECTORY: '/run/credentials', ...process.env });
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    const lines = error.message.split('\n');
    findings.push(...lines.map((message): Finding => ({ level: 'error', subject: 'config', message })));
    return null;
  }
}

interface AgentAnswer {
  running: boolean;
  configFile?: string;
  findings: Finding[];
}

async function askAgent(client: ControlClient): Promise<AgentAnswer> {
  try {
    const [status, findings] = await Promise.all([client.status(), client.doctor()]);
    const warnings = status.warnings.map((message): Finding => ({
      level: 'warning',
      subject: 'agent',
      message,
    }));
    const state: Finding = {
      level: 'ok',
      subject: 'agent',
      message: `node ${status.node} runs, pid ${status.pid}`,
    };
    return { running: true, configFile: status.configFile, findings: [state, ...warnings, ...findings] };
  } catch (error) {
    if (!(error instanceof ControlError)) throw error;
    const level = error.code === 'ENOAGENT' ? 'warning' : 'error';
    return {
      running: error.code !== 'ENOAGENT',
      findings: [{ level, subject: 'agent', message: error.message }],
    };
  }
}

const MARKS = { ok: 'ok     ', warning: 'warning', error: 'ERROR  ' } as const;

export function renderFindings(findings: readonly Finding[]): string {
  const widest = Math.max(0, ...findings.map(({ subject }) => subject.length));
  return findings
    .map(({ level, subject, message, remedy }) => {
      const tail = remedy === undefined ? '' : `; ${remedy}`;
      return `${MARKS[level]}  ${subject.padEnd(widest)}  ${message}${tail}`;
    })
    .join('\n');
}
