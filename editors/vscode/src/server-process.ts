/** The server's process, which ends when it should, willing or not. */

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { stopGroup } from "./run.ts";

const PATIENCE_MS = 2000;

/** One process, or another in its place where it has ended by itself. */
export class ServerProcess {
  readonly #command: readonly string[];
  readonly #folder: string;
  readonly #say: (line: string) => void;
  #child: ChildProcess | undefined;
  #isWanted = true;

  /**
   * @param folder our own, where nobody puts what Python would import
   * @param say is told how it has ended
   */
  constructor(command: readonly string[], folder: string, say: (line: string) => void) {
    this.#command = command;
    this.#folder = folder;
    this.#say = say;
  }

  /** Start it; reject where that is not possible, or not wanted any more. */
  async start(): Promise<ChildProcess> {
    this.#end();
    await mkdir(this.#folder, { recursive: true });
    if (!this.#isWanted) {
      throw new Error("It was stopped before it was started.");
    }
    const [program = "", ...args] = this.#command;
    const child = spawn(program, args, {
      cwd: this.#folder,
      windowsHide: true,
      // A group of its own: what a script starts has to end with it.
      detached: process.platform !== "win32",
    });
    this.#child = child;
    child.on("exit", (code, signal) =>
      this.#say(`the server has ended with ${signal ?? code}`),
    );
    // Also where it cannot be signalled, and then nobody waits for it.
    child.on("error", (error) => this.#say(error.message));
    await once(child, "spawn");
    return child;
  }

  /** Give it a moment to end, as it was told to, then end it. */
  async finish(): Promise<void> {
    if (this.#child !== undefined && isAlive(this.#child)) {
      const signal = AbortSignal.timeout(PATIENCE_MS);
      await once(this.#child, "exit", { signal }).catch(() => undefined);
    }
    this.kill();
  }

  /** End it now and for good, though it may not listen. */
  kill(): void {
    this.#isWanted = false;
    this.#end();
  }

  #end(): void {
    const child = this.#child;
    if (child === undefined) {
      return;
    }
    if (isAlive(child)) {
      if (process.platform === "win32") {
        child.kill();
      } else {
        stopGroup(child, "SIGKILL");
      }
    }
    // Others may have these, too, and then would never be seen to end.
    child.stdin?.destroy();
    child.stdout?.destroy();
  }
}

function isAlive(child: ChildProcess): boolean {
  return child.exitCode === null && child.signalCode === null;
}
