// Builds the addon: run by `npm ci`, by `npm install`, and by hand. A host that can't build it gets one line that says so and
// what to do; the agent then runs with --plain, so this never fails an installation.
//
//   node native/install.mjs               build/Release/causeway.node
//   node native/install.mjs --sanitize    build-asan/build/Debug/causeway.node, with address and undefined-behaviour sanitizers
//
// `--sanitize` is for tests: there a failure is a failure (exit status 1).
import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  cpSync,
  existsSync,
  mkdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const sanitize = process.argv.includes('--sanitize');
const TOOLS_REMEDY = 'apt-get install g++ make python3';

function onPath(command) {
  if (command.includes('/')) return existsSync(command);
  return (process.env.PATH ?? '').split(':').some((folder) => {
    try {
      accessSync(path.join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Names of the tools that are missing. */
function missingTools() {
  const python = process.env.PYTHON ?? process.env.npm_config_python ?? 'python3';
  return [process.env.CXX ?? 'g++', process.env.MAKE ?? 'make', python].filter(
    (tool) => !onPath(tool.split(' ')[0]),
  );
}

/** Node's headers beside the executable (Debian's libnode-dev, nodejs.org's archive), else node-gyp downloads them. */
function headerOptions() {
  const prefix = path.dirname(path.dirname(process.execPath));
  if (process.env.npm_config_nodedir) return [];
  return existsSync(path.join(prefix, 'include/node/node_api.h')) ? [`--nodedir=${prefix}`] : [];
}

/** One line on standard error, whatever happened. */
function giveUp(reason, remedy) {
  process.stderr.write(
    `causeway: the native addon is not built: ${reason}; remedy: ${remedy}, then npm rebuild, or run causeway with --plain (slow)\n`,
  );
  process.exit(sanitize ? 1 : 0);
}

/** node-gyp always builds into ./build, so a sanitizer build gets a folder of its own that points back here. */
function sanitizerFolder() {
  const folder = path.join(root, 'build-asan');
  mkdirSync(folder, { recursive: true });
  cpSync(path.join(root, 'binding.gyp'), path.join(folder, 'binding.gyp'));
  rmSync(path.join(folder, 'native'), { force: true });
  symlinkSync('../native', path.join(folder, 'native'));
  return folder;
}

function nodeGyp() {
  try {
    return createRequire(import.meta.url).resolve('node-gyp/bin/node-gyp.js');
  } catch {
    return giveUp('node-gyp is not installed', 'npm ci');
  }
}

function build() {
  const missing = missingTools();
  if (missing.length > 0) giveUp(`${missing.join(', ')} not found`, TOOLS_REMEDY);
  const folder = sanitize ? sanitizerFolder() : root;
  // A sanitizer build is for running tests again and again: only what changed is compiled.
  const steps = sanitize ? ['configure', 'build', '--debug'] : ['rebuild'];
  const options = ['--jobs=2', ...headerOptions()];
  const env = { ...process.env, CAUSEWAY_SANITIZE: sanitize ? '1' : '0' };
  if (!env.npm_config_nodedir) delete env.npm_config_nodedir; // empty, it would override the option
  const result = spawnSync(process.execPath, [nodeGyp(), ...steps, ...options], {
    cwd: folder,
    env,
    encoding: 'utf8',
  });
  if (result.status === 0) return;
  const output = `${result.stdout}\n${result.stderr}`;
  const log = path.join(folder, 'build', 'install.log');
  mkdirSync(path.dirname(log), { recursive: true });
  writeFileSync(log, output);
  explain(output, path.relative(process.cwd(), log));
}

/** The likeliest cause of a failed build, in one line. */
function explain(output, log) {
  const compiler = /^.*\berror: .*$/m.exec(output)?.[0];
  if (compiler !== undefined) giveUp(compiler.trim(), `${TOOLS_REMEDY} (all of it is in ${log})`);
  if (/ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|network|headers/i.test(output)) {
    giveUp("Node's headers are not here and cannot be downloaded", 'apt-get install libnode-dev');
  }
  giveUp('node-gyp failed', `${TOOLS_REMEDY} (all of it is in ${log})`);
}

build();
