/** Cgroups as nftables know them: by inode, which a service that starts again has anew. */
import { statSync } from 'node:fs';

/** Ms between looks at the cgroups that rules name. */
const CGROUP_LOOK_MS = 1000;
const CGROUP_ROOT = '/sys/fs/cgroup';

/** 0 where there is no such cgroup. */
export function cgroupInode(path: string): number {
  return statSync(`${CGROUP_ROOT}/${path}`, { throwIfNoEntry: false })?.ino ?? 0;
}

/** Calls `look` again and again while there is a path to look at. Returns what ends it; alone it keeps no process alive. */
export function watchCgroups(paths: readonly string[], look: () => void): () => void {
  if (paths.length === 0) return () => undefined;
  const timer = setInterval(look, CGROUP_LOOK_MS).unref();
  return () => clearInterval(timer);
}
