/** How many bytes something takes, for people. */
const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

export const bytes = (count: number): string =>
  count < KIB ? `${count} B` : count < MIB ? `${Math.round(count / KIB)} KB` : count < GIB ? `${Math.round(count / MIB)} MB` : `${(count / GIB).toFixed(1)} GB`;
