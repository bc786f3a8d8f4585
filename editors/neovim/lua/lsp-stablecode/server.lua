--- The server's process: finding it, starting it, starting it again after it died.

local options = require('lsp-stablecode.options')

local api = vim.api

local M = {}

M.NAME = 'lsp-stablecode'
M.VERSION = '0.1.0'

--- Delays before one start after another. After so many the user is told, and a
--- server that lived for a while begins from the first one again.
local RESTART_DELAYS_MS = { 0, 500, 2000, 5000 }
local LIVED_LONG_MS = 60000

--- Somebody asked it to end.
local SIGTERM = 15

local num_restarts = 0
local started_ms = 0
local has_told_missing = false

--- Tell the user, in one line: a longer message would wait for a key.
---@param text string
---@param level integer One of |vim.log.levels|
local function say(text, level)
  vim.notify('lsp-stablecode: ' .. text, level)
end

--- The command line in the clone that this plugin is a part of, after `make setup`.
---@return string?
local function in_clone()
  local path = vim.fs.normalize(debug.getinfo(1, 'S').source:sub(2))
  for folder in vim.fs.parents(vim.uv.fs_realpath(path) or path) do
    for _, name in ipairs({ 'bin/lsp-stablecode', 'Scripts/lsp-stablecode.exe' }) do
      local program = vim.fs.joinpath(folder, '.venv', name)
      if vim.fn.executable(program) == 1 then
        return program
      end
    end
  end
end

--- Find a program. Windows would look in the current folder first, which may be a
--- stranger's, unless this variable is there (only read there, and not tried).
---@param name string
---@return string?
local function find(name)
  local before = vim.env.NoDefaultCurrentDirectoryInExePath
  vim.env.NoDefaultCurrentDirectoryInExePath = '1'
  local path = vim.fn.exepath(name)
  vim.env.NoDefaultCurrentDirectoryInExePath = before
  return path ~= '' and path or nil
end

--- Return what starts the server; nil where it is not to be found.
---@return string[]?
function M.command()
  local chosen = options.get().cmd
  if chosen then
    local program = find(chosen[1])
    return program and vim.list_extend({ program }, chosen, 2) or nil
  end
  local program = find('lsp-stablecode') or in_clone()
  if not program then
    return nil
  end
  return options.get().shared_engine and { program, 'serve', '--shared' } or { program, 'serve' }
end

--- Return the command line for another subcommand than `serve`.
---@param ... string
---@return string[]?
function M.subcommand(...)
  local command = {} ---@type string[]
  for _, word in ipairs(M.command() or {}) do
    if word == 'serve' then
      break
    end
    command[#command + 1] = word
  end
  return #command > 0 and vim.list_extend(command, { ... }) or nil
end

---@return boolean
local function is_there()
  if M.command() then
    return true
  end
  if not has_told_missing then
    has_told_missing = true
    say('no server found; see :checkhealth lsp-stablecode', vim.log.levels.WARN)
  end
  return false
end

---@param bufnr integer
---@return string?
local function root_of(bufnr)
  return vim.fs.root(bufnr, vim.lsp.config[M.NAME].root_markers or {})
end

--- Tell a running server of the folder that a buffer belongs to.
---@param client vim.lsp.Client
---@param bufnr integer
function M.add_folder(client, bufnr)
  local root = root_of(bufnr)
  if not root then
    return
  end
  local uri = vim.uri_from_fname(root)
  local folders = client.workspace_folders or {}
  for _, folder in ipairs(folders) do
    if folder.uri == uri then
      return
    end
  end
  local folder = { uri = uri, name = root }
  client.workspace_folders = vim.list_extend(folders, { folder })
  client:notify('workspace/didChangeWorkspaceFolders', {
    event = { added = { folder }, removed = {} },
  })
end

--- Start the server for a buffer, or attach the running one.
---@param bufnr integer
function M.start(bufnr)
  local config = vim.deepcopy(vim.lsp.config[M.NAME])
  ---@param root? string
  local function start(root)
    config.root_dir = root
    vim.lsp.start(config, { bufnr = bufnr, reuse_client = config.reuse_client })
  end
  if type(config.root_dir) == 'function' then
    config.root_dir(bufnr, start)
  else
    start(config.root_dir --[[@as string?]])
  end
end

---@param buffers integer[]
---@param why string
local function start_again(buffers, why)
  num_restarts = vim.uv.now() - started_ms > LIVED_LONG_MS and 1 or num_restarts + 1
  local delay = RESTART_DELAYS_MS[num_restarts]
  if not delay then
    num_restarts = 0
    say('the server keeps dying; see :LspStablecode log', vim.log.levels.ERROR)
    return
  end
  say(('the server died (%s) and is started again'):format(why), vim.log.levels.WARN)
  vim.defer_fn(function()
    if not vim.lsp.is_enabled(M.NAME) then
      return
    end
    for _, bufnr in ipairs(buffers) do
      if api.nvim_buf_is_loaded(bufnr) then
        M.start(bufnr)
      end
    end
  end, delay)
end

---@class lsp-stablecode.Ending
---@field code integer
---@field signal integer
---@field is_asked? boolean Whether Neovim was told to stop it

--- How the process ended whose end is being reported to Neovim.
---@type lsp-stablecode.Ending?
local ending

--- Start the process. Neovim does not learn how it ends: it would report that at such
--- length that it waits for a key, and whoever is typing would lose one.
---@param dispatchers vim.lsp.rpc.Dispatchers
---@return vim.lsp.rpc.PublicClient
local function spawn(dispatchers)
  started_ms = vim.uv.now()
  local is_asked = false
  local report = dispatchers.on_exit
  dispatchers.on_exit = function(code, signal)
    ending = { code = code, signal = signal, is_asked = is_asked }
    report(0, 0)
    ending = nil
  end
  local command = assert(M.command(), 'the server is not there any more')
  local process = vim.lsp.rpc.start(command, dispatchers)
  local terminate = process.terminate
  process.terminate = function()
    is_asked = true
    terminate()
  end
  return process
end

--- Whether it ended because somebody wanted that. With the last of these codes it says
--- itself what it was told.
---@param ended lsp-stablecode.Ending
---@return boolean
local function is_meant(ended)
  local code, signal = ended.code, ended.signal
  return ended.is_asked
    or signal == SIGTERM
    or signal == 0 and (code == 0 or code == 128 + SIGTERM)
end

---@param code integer
---@param signal integer
---@param client_id integer
local function on_exit(code, signal, client_id)
  local ended = ending or { code = code, signal = signal }
  local client = vim.lsp.get_client_by_id(client_id)
  local buffers = client and vim.tbl_keys(client.attached_buffers) or {}
  vim.schedule(function()
    require('lsp-stablecode.status').forget(client_id)
    if not is_meant(ended) and vim.v.exiting == vim.NIL then
      local is_killed = ended.signal ~= 0
      start_again(buffers, is_killed and 'signal ' .. ended.signal or 'code ' .. ended.code)
    end
  end)
end

---@param client vim.lsp.Client
local function on_init(client)
  if not require('lsp-stablecode.suggestions').is_builtin() then
    -- Else Neovim 0.12 would ask and draw too, once a user enables its own.
    client.server_capabilities.inlineCompletionProvider = nil
  end
end

--- Stop the server and start it again in the same buffers, at once.
function M.restart()
  num_restarts = 0
  has_told_missing = false
  local buffers = {} ---@type table<integer, true>
  for _, client in ipairs(vim.lsp.get_clients({ name = M.NAME })) do
    for bufnr in pairs(client.attached_buffers) do
      buffers[bufnr] = true
    end
    client:stop(true)
  end
  buffers[api.nvim_get_current_buf()] = true
  vim.schedule(function()
    for bufnr in pairs(buffers) do
      if api.nvim_buf_is_loaded(bufnr) then
        M.start(bufnr)
      end
    end
  end)
end

--- Return what |vim.lsp.config| holds of us, and begin to listen to Neovim's events.
---@return vim.lsp.Config
function M.config()
  require('lsp-stablecode.events').listen()
  return {
    -- A function, so that the server is looked for at each start.
    cmd = spawn,
    -- No `filetypes`: the server knows many languages, and those it should not serve.
    root_markers = { '.git' },
    root_dir = function(bufnr, on_dir)
      if vim.bo[bufnr].buftype == '' and is_there() then
        on_dir(root_of(bufnr))
      end
    end,
    -- One server for all folders: where it is not shared, each would hold the model.
    reuse_client = function(client, config)
      return client.name == config.name and not client:is_stopped()
    end,
    capabilities = { textDocument = { inlineCompletion = vim.empty_dict() } },
    init_options = {
      editorInfo = { name = 'Neovim', version = tostring(vim.version()) },
      editorPluginInfo = { name = 'lsp-stablecode', version = M.VERSION },
    },
    settings = { [M.NAME] = vim.tbl_extend('force', vim.empty_dict(), options.get().settings) },
    handlers = {
      didChangeStatus = function(_, params, context)
        require('lsp-stablecode.status').changed(params, context.client_id)
      end,
    },
    on_init = on_init,
    on_exit = on_exit,
  }
end

return M
