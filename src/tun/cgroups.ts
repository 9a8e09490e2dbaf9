/** Cgroups as nftables know them: by inode, which a service that starts again has anew. */
import { statSync } from 'node:fs';

/** Ms between looks at the cgroups that rules name. */
export const CGROUP_LOOK_MS = 1000;
const CGROUP_ROOT = '/sys/fs/cgroup';

/** 0 where there is no such cgroup. */
export function cgroupInode(path: string): number {
  return statSync(`${CGROUP_ROOT}/${path}`, { throwIfNoEntry: false })?.ino ?? 0;
}
