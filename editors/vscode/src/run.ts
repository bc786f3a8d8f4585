/** Programs that run to their end beside the server: pip, doctor, models. */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
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
  readonly signal?: AbortSignal;
  /** Called for each line of either output. */
  readonly onLine?: (line: string) => void;
}

/** Run a program to its end, or until it is told to stop; never reject. */
export type Run = (command: readonly string[], options?: Options) => Promise<Ended>;

const COMPLAINT_LINES = 5;

/** Runs programs in one folder, and none of them longer than it lives itself. */
export class Runner {
  readonly #folder: string;
  readonly #disposal = new AbortController();

  /**
   * @param folder our own, made if need be: Python imports what lies where it runs, and
   * the folder that VS Code was started in may be of a workspace that nobody trusts
   */
  constructor(folder: string) {
    this.#folder = folder;
  }

  readonly run: Run = async (command, { signal, onLine } = {}) => {
    const signals = [this.#disposal.signal, ...(signal ? [signal] : [])];
    try {
      await mkdir(this.#folder, { recursive: true });
      return await runIn(this.#folder, command, AbortSignal.any(signals), onLine);
    } catch (error) {
      return { code: null, stdout: "", complaint: (error as Error).message };
    }
  };

  /** Stop what runs, and run nothing more. */
  dispose(): void {
    this.#disposal.abort();
  }
}

/** End a program and its children; it has to be the first of a group of processes. */
export function stopGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (child.pid !== undefined) {
      process.kill(-child.pid, signal);
    }
  } catch {
    // It has ended meanwhile.
  }
}

function runIn(
  folder: string,
  [program = "", ...args]: readonly string[],
  signal: AbortSignal,
  onLine: ((line: string) => void) | undefined,
): Promise<Ended> {
  signal.throwIfAborted();
  return new Promise((resolve) => {
    const stdout: string[] = [];
    const stderr: string[] = [];
    const child = spawn(program, args, {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      windowsHide: true,
      // A group of its own: pip's children have to end with it.
      detached: process.platform !== "win32",
    });
    const stop = () => {
      if (process.platform === "win32") {
        const taskkill = ["/pid", String(child.pid), "/t", "/f"];
        spawn("taskkill", taskkill, { cwd: folder, stdio: "ignore" });
      } else {
        stopGroup(child, "SIGTERM");
      }
    };
    signal.addEventListener("abort", stop);
    collect(child.stdout, stdout, onLine);
    collect(child.stderr, stderr, onLine);
    const end = (code: number | null, complaint: string) => {
      signal.removeEventListener("abort", stop);
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
