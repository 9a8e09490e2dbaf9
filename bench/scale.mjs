/**
 * Routing at the size of a thousand nodes and four thousand links, in the simulator: the agent's own cores on virtual time, with cheap signatures. Prints a
 * table and writes `bench/results/scale.json`. Needs `npm ci`; takes ten minutes or so, with `--only recompute` seconds.
 *
 *   node bench/scale.mjs [--nodes 1000] [--links 4000] [--seed 1] [--only recompute]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

const repository = join(import.meta.dirname, '..');
const run = async (command, args) => {
  const [code] = await once(spawn(command, args, { cwd: repository, stdio: 'inherit' }), 'exit');
  if (code !== 0) process.exit(code ?? 1);
};

await run('npx', ['--no-install', 'tsc', '-p', 'bench/scale/tsconfig.json']);
const memory = ['--expose-gc', '--max-old-space-size=12000'];
await run(process.execPath, [...memory, 'build/scale/bench/scale/main.js', ...process.argv.slice(2)]);
