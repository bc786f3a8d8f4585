/** A Python that the server can be installed with. */

import type { Run } from "./run.ts";

const OLDEST_MINOR = 11;
const NEWEST_MINOR = 14;
/** Has Python import nothing from where it runs, nor from where variables say. */
export const ISOLATED = "-I";

const PROBE = "import ensurepip, sys, venv; print(*sys.version_info[:2])";

/** Return the commands to try, the user's own choice first. */
export function pythonCandidates(
  chosen: string,
  environments: readonly string[],
  platform: NodeJS.Platform,
): string[][] {
  if (chosen !== "") {
    return [[chosen]];
  }
  const versions = [];
  for (let minor = NEWEST_MINOR; minor >= OLDEST_MINOR; minor--) {
    versions.push(platform === "win32" ? ["py", `-3.${minor}`] : [`python3.${minor}`]);
  }
  return [
    // An environment may be a folder, which then simply does not run.
    ...environments.map((path) => [path]),
    ["python3"],
    ...versions,
    ["python"],
  ];
}

/** Return the first that is new enough and can make virtual environments. */
export async function findPython(
  run: Run,
  candidates: readonly (readonly string[])[],
): Promise<readonly string[] | undefined> {
  for (const command of candidates) {
    const { code, stdout } = await run([...command, ISOLATED, "-c", PROBE]);
    if (code === 0 && isNewEnough(stdout)) {
      return command;
    }
  }
  return undefined;
}

/** Tell whether a Python that printed its version is one that we can use. */
export function isNewEnough(printed: string): boolean {
  const [major = 0, minor = 0] = printed.trim().split(/\s+/).map(Number);
  return major > 3 || (major === 3 && minor >= OLDEST_MINOR);
}
