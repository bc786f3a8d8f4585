/** What the model is doing: asked of the server, and told by it. */

import { Disposable, EventEmitter } from "vscode";
import type { Progress, Server } from "./server.ts";
import type { Loading, ModelStatus, Notice } from "./view.ts";

const ASK_AGAIN_MS = 1000;

/** Keeps what the status bar shows of the model. */
export class ModelWatch implements Disposable {
  readonly #changed = new EventEmitter<void>();
  readonly #server: Server;
  readonly #subscriptions: Disposable;
  #status: ModelStatus | undefined;
  #loading: Loading | undefined;
  #notice: Notice | undefined;
  #timer: NodeJS.Timeout | undefined;

  readonly onDidChange = this.#changed.event;

  constructor(server: Server) {
    this.#server = server;
    this.#subscriptions = Disposable.from(
      server.onDidChange(() => this.#startAnew()),
      server.onDidProgress((progress) => this.#follow(progress)),
      server.onDidNotice((notice) => {
        const before = this.#notice;
        this.#notice = notice;
        // Mere work changes nothing that is asked about.
        if (notice.kind !== before?.kind || notice.message !== before.message) {
          void this.refresh();
        }
      }),
      this.#changed,
    );
  }

  get status(): ModelStatus | undefined {
    return this.#status;
  }

  get loading(): Loading | undefined {
    return this.#loading;
  }

  get notice(): Notice | undefined {
    return this.#notice;
  }

  /**
   * Ask for the state, and again until the model is there or has failed.
   *
   * What was known holds on where there is no answer: a shared engine that is started
   * again cannot give one.
   */
  async refresh(): Promise<void> {
    clearTimeout(this.#timer);
    const status = await this.#server.execute<ModelStatus>("status");
    if (this.#server.state.name !== "running") {
      return;
    }
    this.#status = status ?? this.#status;
    this.#changed.fire();
    clearTimeout(this.#timer);
    if (status === undefined || status.state === "idle" || status.state === "loading") {
      this.#timer = setTimeout(() => void this.refresh(), ASK_AGAIN_MS);
    }
  }

  dispose(): void {
    clearTimeout(this.#timer);
    this.#subscriptions.dispose();
  }

  #startAnew(): void {
    clearTimeout(this.#timer);
    this.#status = undefined;
    this.#loading = undefined;
    this.#notice = undefined;
    if (this.#server.state.name === "running") {
      void this.refresh();
    }
  }

  #follow(progress: Progress): void {
    if (progress.kind === "end") {
      this.#loading = undefined;
      void this.refresh();
      return;
    }
    const stage = progress.message ?? this.#loading?.stage ?? "";
    this.#loading = { stage, percentage: progress.percentage };
    this.#changed.fire();
  }
}
