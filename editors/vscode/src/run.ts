/** Programs that run to their end beside the server: pip, doctor, models. */

import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export interface Ended {
  /** `null` where the program was stopped, or could not be started. */
  readonly code: number | null;
  readonly stdout: string;
  /** The last lines of what it said on standard error. */
  readonly complaint: string;
}

export interface Options {
  readonly folder?: string;
  readonly signal?: AbortSignal;
  /** Called for each line of either output. */
  readonly onLine?: (line: string) => void;
}

const COMPLAINT_LINES = 5;

/** Run a program to its end, or until it is told to stop; never reject. */
export function run(command: readonly string[], options: Options = {}): Promise<Ended> {
  const [program = "", ...args] = command;
  return new Promise((resolve) => {
    const stdout: string[] = [];
    const stderr: string[] = [];
    const child = spawn(program, args, {
      cwd: options.folder,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      // A group of its own: pip's children have to end with it.
      detached: process.platform !== "win32",
    });
    const stop = () => stopGroup(child.pid);
    options.signal?.addEventListener("abort", stop);
    if (options.signal?.aborted) {
      stop();
    }
    collect(child.stdout, stdout, options.onLine);
    collect(child.stderr, stderr, options.onLine);
    const end = (code: number | null, complaint: string) => {
      options.signal?.removeEventListener("abort", stop);
      resolve({ code, stdout: stdout.join("\n"), complaint });
    };
    child.on("error", (error) => end(null, error.message));
    child.on("close", (code) =>
      end(code, stderr.filter(Boolean).slice(-COMPLAINT_LINES).join("\n")),
    );
  });
}

function collect(
  stream: Readable,
  lines: string[],
  onLine: ((line: string) => void) | undefined,
): void {
  createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on(
    "line",
    (line) => {
      lines.push(line);
      onLine?.(line);
    },
  );
}

function stopGroup(pid: number | undefined): void {
  if (pid === undefined) {
    return;
  }
  if (process.platform === "win32") {
    spawn("taskkill", ["/pid", String(pid), "/t", "/f"], { stdio: "ignore" });
    return;
  }
  try {
    process.kill(-pid, "SIGTERM");
  } catch {
    // It has ended meanwhile.
  }
}
