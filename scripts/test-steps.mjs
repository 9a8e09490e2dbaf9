/** What `test-all` runs, step by step. */

/** Integration tests with bounds in seconds, or with rates: each below test/integration. */
export const TIMED = [
  'agent/failover',
  'agent/junk',
  'agent/lifecycle',
  'agent/recovery',
  'agent/redundant',
  'agent/reroute',
  'agent/roaming',
  'agent/rules',
  'intercept/full',
  'intercept/host-programs',
  'mesh/emulator',
].map((name) => `test/integration/${name}.test.ts`);

const TOGETHER = ['unit', 'sim', 'fuzz'];

/** @returns {{ title: string, words: string[], workers?: number }[]} steps; `workers`: integration files at a time */
export function stepsOf(projects) {
  const asked = projects.length > 0 ? projects : [...TOGETHER, 'integration'];
  const computing = TOGETHER.filter((project) => asked.includes(project));
  const others = asked.filter((project) => !TOGETHER.includes(project));
  const steps = [];
  if (computing.length > 0) steps.push({ title: computing.join('+'), words: wordsOf(computing) });
  for (const project of others) {
    if (project !== 'integration') steps.push({ title: project, words: wordsOf([project]) });
    else {
      const words = wordsOf([project]);
      const exclude = TIMED.flatMap((file) => ['--exclude', file]);
      steps.push({ title: 'integration', words: [...words, ...exclude], workers: 3 });
      steps.push({ title: 'integration-timed', words: [...words, ...TIMED], workers: 3 });
    }
  }
  return steps;
}

const wordsOf = (projects) => projects.flatMap((project) => ['--project', project]);

/** More files than this that fail don't do so by chance. */
const FEW = 3;

/** @returns {{ title: string, words: string[], workers: number }[]} a step for each file to run once more, alone */
export function againOf(failures) {
  const files = [...new Set(failures.map(({ file }) => file))];
  if (files.length > FEW || !files.every((file) => file.startsWith('test/integration/'))) return [];
  return files.map((file) => ({
    title: `again, alone: ${file}`,
    words: ['--project', 'integration', file],
    workers: 1,
  }));
}
