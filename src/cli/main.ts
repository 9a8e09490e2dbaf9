/** `causeway …`: runs one command and gives its exit code. */
import { terminal } from './context.js';
import type { Output } from './context.js';
import { explainError } from './errors.js';
import { createProgram } from './program.js';

/** `argv` without node and script. Never throws. */
export async function main(argv: readonly string[], output: Output = terminal): Promise<number> {
  let exitCode = 0;
  try {
    const program = await createProgram(argv, output, (code) => (exitCode = code));
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    const explained = explainError(error, process.env['CAUSEWAY_DEBUG'] === '1');
    for (const line of explained.lines) output.err(line);
    return explained.exitCode;
  }
}
