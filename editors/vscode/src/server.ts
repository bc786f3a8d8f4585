/** The server's process and the connection to it. */

import { homedir } from "node:os";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import {
  type Disposable,
  EventEmitter,
  type ExtensionContext,
  env,
  type LogOutputChannel,
  version,
  workspace,
} from "vscode";
import {
  CloseAction,
  DidChangeConfigurationNotification,
  ErrorAction,
  ExecuteCommandRequest,
  LanguageClient,
  type Middleware,
  RevealOutputChannelOn,
  State,
  type WorkDoneProgressBegin,
  type WorkDoneProgressEnd,
  type WorkDoneProgressReport,
} from "vscode-languageclient/node";
import { documentSelector } from "./documents.ts";
import { expand, type Found, findProgram } from "./locate.ts";
import { RestartLimit } from "./restart-limit.ts";
import { ServerProcess } from "./server-process.ts";
import {
  chosenSettings,
  list,
  type Manifest,
  SECTION,
  serverKeys,
  settings,
} from "./settings.ts";
import { findServer, surroundings } from "./surroundings.ts";
import type { Notice, ServerState } from "./view.ts";

export type Progress =
  WorkDoneProgressBegin | WorkDoneProgressReport | WorkDoneProgressEnd;

/** Twice what it may itself wait for an engine that is shared. */
const START_PATIENCE_MS = 120_000;
const TOO_SLOW =
  `The server has not answered for ${START_PATIENCE_MS / 1000} seconds and was ended. ` +
  `Is what ${SECTION}.serverCommand names the server? Start it anew, or correct that ` +
  "setting.";

/** A client that logs what goes wrong and leaves it to us to show it. */
class QuietClient extends LanguageClient {
  override error(message: string, data?: unknown): void {
    super.error(message, data, false);
  }
}

/** Finds the server, starts it, starts it anew, stops it: one thing after the other. */
export class Server implements Disposable {
  readonly #changed = new EventEmitter<ServerState>();
  readonly #progressed = new EventEmitter<Progress>();
  readonly #noticed = new EventEmitter<Notice>();
  readonly #context: ExtensionContext;
  readonly #log: LogOutputChannel;
  readonly #middleware: Middleware;
  #state: ServerState = { name: "stopped" };
  #client: QuietClient | undefined;
  #process: ServerProcess | undefined;
  #patience: NodeJS.Timeout | undefined;
  #isDisposed = false;
  #found: Found | undefined;
  #queue: Promise<void> = Promise.resolve();
  #lastWords = "";

  readonly onDidChange = this.#changed.event;
  readonly onDidProgress = this.#progressed.event;
  readonly onDidNotice = this.#noticed.event;

  constructor(
    context: ExtensionContext,
    log: LogOutputChannel,
    middleware: Middleware,
  ) {
    this.#context = context;
    this.#log = log;
    this.#middleware = middleware;
  }

  get state(): ServerState {
    return this.#state;
  }

  /** The command, once it was found: for what else it can do beside serving. */
  get found(): Found | undefined {
    return this.#found;
  }

  /** Look for the server and start it, in place of the one that runs. */
  restart(): Promise<void> {
    return this.#enqueue(async () => {
      await this.#stop();
      await this.#start();
    });
  }

  /** Keep the server away while `work` is done, then start it again. */
  suspendWhile(work: () => Promise<void>): Promise<void> {
    return this.#enqueue(async () => {
      await this.#stop();
      this.#become({ name: "installing" });
      try {
        await work();
      } finally {
        await this.#start();
      }
    });
  }

  /** Run one of the server's commands; `undefined` if that is not possible now. */
  async execute<Result>(name: string, ...args: unknown[]): Promise<Result | undefined> {
    const client = this.#client;
    if (client === undefined || this.#state.name !== "running") {
      return undefined;
    }
    try {
      const command = `${SECTION}.${name}`;
      return (await client.sendRequest(ExecuteCommandRequest.type, {
        command,
        arguments: args,
      })) as Result;
    } catch (error) {
      this.#log.warn(`${name}: ${String(error)}`);
      return undefined;
    }
  }

  /** Tell the server something, if it is there. */
  async notify(method: string, params: object): Promise<void> {
    if (this.#state.name !== "running") {
      return;
    }
    try {
      await this.#client?.sendNotification(method, params);
    } catch (error) {
      // It is being stopped, or was lost just now.
      this.#log.debug(`${method}: ${String(error)}`);
    }
  }

  async dispose(): Promise<void> {
    this.#isDisposed = true;
    await this.#enqueue(() => this.#stop());
    this.#changed.dispose();
    this.#progressed.dispose();
    this.#noticed.dispose();
  }

  #enqueue(work: () => Promise<void>): Promise<void> {
    // What one task failed with must not keep the next one from running.
    const done = this.#queue.then(work);
    this.#queue = done.catch(() => undefined);
    return done;
  }

  async #start(): Promise<void> {
    if (this.#isDisposed) {
      return;
    }
    try {
      this.#found = await this.#find();
      if (this.#found === undefined) {
        this.#become({ name: "missing" });
        return;
      }
      this.#log.info(`${this.#found.command.join(" ")} (${this.#found.origin})`);
      this.#become({ name: "starting" });
      const server = new ServerProcess(
        this.#command(this.#found),
        this.#context.globalStorageUri.fsPath,
        (line) => this.#log.info(line),
      );
      this.#process = server;
      this.#client = this.#makeClient(server);
      // Not awaited: one that hangs must not hold up what is to end it.
      void this.#follow(this.#client);
    } catch (error) {
      this.#fail((error as Error).message);
    }
  }

  async #follow(client: QuietClient): Promise<void> {
    try {
      await client.start();
    } catch (error) {
      if (client === this.#client) {
        this.#giveUp(`The server could not be started: ${this.#reason(error)}`);
      }
      return;
    }
    const info = client.initializeResult?.serverInfo;
    this.#log.info(`${info?.name ?? "the server"} ${info?.version ?? ""} runs`);
  }

  async #stop(): Promise<void> {
    const [client, server] = this.#release();
    if (client === undefined) {
      return;
    }
    if (client.state === State.Running) {
      try {
        await client.dispose();
        await server?.finish();
      } catch (error) {
        this.#log.info(`the server was stopped: ${(error as Error).message}`);
      }
    }
    // One that is starting cannot be asked to stop, nor one that does not answer.
    server?.kill();
    this.#become({ name: "stopped" });
  }

  /** Have no client and no process any more; return those that there were. */
  #release(): [client: QuietClient | undefined, server: ServerProcess | undefined] {
    clearTimeout(this.#patience);
    const [client, server] = [this.#client, this.#process];
    this.#client = this.#process = undefined;
    return [client, server];
  }

  #giveUp(message: string): void {
    const [, server] = this.#release();
    server?.kill();
    this.#fail(message);
  }

  async #find(): Promise<Found | undefined> {
    const named = list("serverCommand");
    const folder = workspace.workspaceFolders?.[0]?.uri.fsPath;
    const [program, ...args] = named.map((word) => expand(word, homedir(), folder));
    if (program === undefined) {
      return findServer(this.#context);
    }
    const path = findProgram(program, await surroundings(this.#context));
    if (path === undefined) {
      throw new Error(
        `The setting ${SECTION}.serverCommand names ${program}, and there is no such ` +
          "program. Correct it, or empty it to have the server looked for.",
      );
    }
    return { command: [path, ...args], origin: "named in the settings" };
  }

  #command(found: Found): string[] {
    const folder = workspace.workspaceFolders?.[0]?.uri.fsPath;
    const further = list("serverArguments").map((word) =>
      expand(word, homedir(), folder),
    );
    const shared = settings().get<boolean>("sharedEngine", true) ? ["--shared"] : [];
    return [...found.command, "serve", ...shared, ...further];
  }

  #makeClient(server: ServerProcess): QuietClient {
    const limit = new RestartLimit();
    let wasUp = false;
    const manifest = this.#context.extension.packageJSON as Manifest;
    const keys = serverKeys(manifest);
    const chosen = () => chosenSettings(keys);
    const client: QuietClient = new QuietClient(
      SECTION,
      SECTION,
      () => server.start(),
      {
        documentSelector: documentSelector(),
        outputChannel: this.#log,
        revealOutputChannelOn: RevealOutputChannelOn.Never,
        stdioOptions: {
          stderr: (stream) => this.#listen(stream),
          // The protocol has it.
          stdout: () => undefined,
        },
        initializationOptions: {
          editorInfo: { name: env.appName, version },
          editorPluginInfo: {
            name: this.#context.extension.id,
            version: manifest.version,
          },
        },
        initializationFailedHandler: () => false,
        errorHandler: {
          error: (error, _message, count) => {
            if ((count ?? 0) <= 3) {
              return { action: ErrorAction.Continue };
            }
            if (client === this.#client) {
              this.#giveUp(`The connection to the server broke: ${error.message}`);
            }
            return { action: ErrorAction.Shutdown, handled: true };
          },
          closed: () => {
            // One that ends before it is up would do so again.
            if (client === this.#client && client.state === State.Running) {
              if (limit.allows(Date.now())) {
                return { action: CloseAction.Restart, handled: true };
              }
              this.#giveUp(`The server has ended too often: ${this.#reason()}`);
            }
            return { action: CloseAction.DoNotRestart, handled: true };
          },
        },
        middleware: {
          ...this.#middleware,
          handleWorkDoneProgress: (token, params, next) => {
            this.#progressed.fire(params);
            if (params.kind === "end") {
              // The rest would show a second bar beside our own.
              next(token, params);
            }
          },
          workspace: {
            configuration: (params, token, next) =>
              params.items.every((item) => item.section === SECTION)
                ? params.items.map(chosen)
                : next(params, token),
            // The server then asks for them.
            didChangeConfiguration: async () => {
              const { method } = DidChangeConfigurationNotification.type;
              await this.notify(method, { settings: null });
            },
          },
        },
      },
    );
    client.onDidChangeState(({ newState }) => {
      if (client !== this.#client) {
        return;
      }
      clearTimeout(this.#patience);
      if (newState === State.Running) {
        wasUp = true;
        this.#become({ name: "running" });
      } else if (newState === State.Starting) {
        this.#become({ name: "starting" });
        this.#patience = setTimeout(() => {
          this.#giveUp(TOO_SLOW);
        }, START_PATIENCE_MS);
      } else if (newState === State.StartFailed && wasUp) {
        this.#giveUp(`The server could not be started again: ${this.#reason()}`);
      }
    });
    client.onNotification("didChangeStatus", (notice: Notice) => {
      this.#noticed.fire(notice);
    });
    return client;
  }

  #fail(message: string): void {
    this.#log.error(message);
    this.#become({ name: "failed", message });
  }

  #become(state: ServerState): void {
    this.#state = state;
    this.#changed.fire(state);
  }

  /** Its last words say more than that the connection was closed. */
  #reason(error?: unknown): string {
    return this.#lastWords || (error instanceof Error ? error.message : "see the log.");
  }

  /** Log what the server writes, each line at the level that it names. */
  #listen(stream: Readable): void {
    this.#lastWords = "";
    createInterface({ input: stream, crlfDelay: Number.POSITIVE_INFINITY }).on(
      "line",
      (line) => {
        const [, level, said] =
          /^\S+ \S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) (.*)$/.exec(line) ?? [];
        if (said === undefined) {
          // A traceback, or what a library prints.
          this.#log.error(line);
          this.#lastWords = line.trim() || this.#lastWords;
        } else if (level === "DEBUG") {
          this.#log.debug(said);
        } else if (level === "INFO") {
          this.#log.info(said);
        } else if (level === "WARNING") {
          this.#log.warn(said);
        } else {
          this.#log.error(said);
        }
      },
    );
  }
}
