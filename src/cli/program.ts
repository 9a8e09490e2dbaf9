/** The commands and their help. */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import type { Output } from './context.js';
import { registerCapture } from './capture.js';
import { registerExplain } from './explain.js';
import { registerDoctor } from './doctor.js';
import { registerFlows } from './flows.js';
import { registerLifecycle } from './lifecycle.js';
import { registerPing } from './ping.js';
import { registerShow } from './show.js';
import { registerTrace } from './trace.js';

const EPILOGUE = `
Start:   causeway ca init, causeway ca sign, causeway check -c FILE, causeway up -c FILE
Look:    causeway status, peers, links, routes, flows, ping NODE, trace NODE, capture -w FILE; causeway doctor when something doesn't work
Exit:    0 done, 1 failed, 2 wrong usage or configuration, 3 no agent there
Environment:
  CAUSEWAY_SOCKET  control socket, where -s isn't given
  CAUSEWAY_DEBUG   1: errors with their stack`;

/** Commands that are asked often, or wanted soon: making certificates is not theirs to load. */
const LIGHT = new Set([
  'up',
  'down',
  'status',
  'peers',
  'links',
  'routes',
  'flows',
  'flow',
  'ping',
  'trace',
  'capture',
  'reload',
]);

/**
 * The program for one command line. `exit` takes the code of a command that ends otherwise than by success or an
 * exception.
 */
export async function createProgram(
  argv: readonly string[],
  output: Output,
  exit: (code: number) => void,
): Promise<Command> {
  const program = new Command('causeway')
    .description(
      'A logical router on this host: carries packets to other hosts of the overlay over authenticated links',
    )
    .version(packageVersion(), '-V, --version')
    .configureOutput({
      writeOut: (text) => output.out(text.trimEnd()),
      writeErr: (text) => output.err(text.trimEnd()),
    })
    .exitOverride()
    .showSuggestionAfterError()
    .showHelpAfterError('("causeway --help" lists commands and options)')
    .addHelpText('after', EPILOGUE);
  registerLifecycle(program, output, exit);
  registerShow(program, output);
  registerFlows(program, output);
  registerPing(program, output);
  registerTrace(program, output);
  registerCapture(program, output);
  registerExplain(program, output);
  registerDoctor(program, output, exit);
  if (!LIGHT.has(argv[0])) (await import('./ca.js')).registerCa(program);
  return program;
}

export function packageVersion(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
