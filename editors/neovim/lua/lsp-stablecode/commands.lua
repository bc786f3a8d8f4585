--- The subcommands of `:LspStablecode`.

local server = require('lsp-stablecode.server')
local silence = require('lsp-stablecode.silence')
local status = require('lsp-stablecode.status')
local switch = require('lsp-stablecode.switch')

local api = vim.api

local M = {}

--- Settings that decide which model is loaded, and their options on the command line.
local MODEL_OPTIONS = {
  model = '--model',
  device = '--device',
  dtype = '--dtype',
  cacheDtype = '--cache-dtype',
  threads = '--threads',
  contextTokens = '--context-tokens',
  backend = '--backend',
  endpoint = '--endpoint',
  remoteModel = '--remote-model',
  apiKeyFile = '--api-key-file',
}

---@class lsp-stablecode.Subcommand
---@field run fun(argument?: string)
---@field arguments? string[] What completion offers

---@param text string
---@param level? integer One of |vim.log.levels|
local function say(text, level)
  vim.notify('lsp-stablecode: ' .. text, level or vim.log.levels.INFO)
end

--- Run a command of the server; say so where none is attached or it fails.
---@param name string
---@param arguments any[]
---@param on_result fun(result: any)
local function ask_server(name, arguments, on_result)
  local client = vim.lsp.get_clients({ name = server.NAME, bufnr = 0 })[1]
  if not client then
    return say(
      'no server is attached to this buffer; :checkhealth lsp-stablecode',
      vim.log.levels.WARN
    )
  end
  local command =
    { title = name, command = ('%s.%s'):format(server.NAME, name), arguments = arguments }
  client:exec_cmd(command, { bufnr = api.nvim_get_current_buf() }, function(problem, result)
    if problem then
      say(problem.message, vim.log.levels.ERROR)
    else
      on_result(result)
    end
  end)
end

--- Write data as lines for people, nested by indentation.
---@param value any
---@param indent string
---@param lines string[]
---@return string[]
local function outline(value, indent, lines)
  for key, one in vim.spairs(value) do
    local name = type(key) == 'number' and '-' or key .. ':'
    if type(one) == 'table' and next(one) ~= nil then
      lines[#lines + 1] = indent .. name
      outline(one, indent .. '  ', lines)
    else
      local text = type(one) == 'string' and vim.json.encode(one) or vim.inspect(one)
      lines[#lines + 1] = ('%s%s %s'):format(indent, name, text)
    end
  end
  return lines
end

---@param title string
---@param value table
local function show(title, value)
  vim.cmd.new()
  local bufnr = api.nvim_get_current_buf()
  vim.bo[bufnr].buftype = 'nofile'
  vim.bo[bufnr].bufhidden = 'wipe'
  vim.bo[bufnr].swapfile = false
  vim.bo[bufnr].filetype = 'yaml'
  api.nvim_buf_set_lines(bufnr, 0, -1, false, outline(value, '', { '# ' .. title }))
  vim.bo[bufnr].modifiable = false
  vim.keymap.set('n', 'q', '<Cmd>close<CR>', { buffer = bufnr, desc = 'Close' })
end

---@param result table
local function say_status(result)
  local engine = result.engine or {}
  local parts = { result.state }
  if engine.model then
    parts[#parts + 1] = ('%s on %s, %s'):format(engine.model, engine.device, engine.dtype)
  end
  if type(result.message) == 'string' and result.message ~= '' then
    parts[#parts + 1] = result.message
  end
  local off = switch.which_is_off(0)
  if off then
    parts[#parts + 1] = silence.reasons[off]
  elseif result.enabled == false then
    parts[#parts + 1] = 'switched off in the server'
  end
  say(table.concat(parts, '; '))
end

---@param argument? string
local function toggle(argument)
  local scope = argument or 'global'
  if not vim.list_contains(switch.scopes, scope) then
    return say(
      ('toggle takes one of %s'):format(table.concat(switch.scopes, ', ')),
      vim.log.levels.ERROR
    )
  end
  ---@cast scope lsp-stablecode.Scope
  local is_on = require('lsp-stablecode').toggle(scope)
  local where = { global = '', buffer = ' in this buffer', language = ' for ' .. vim.bo.filetype }
  say((is_on and 'on' or 'off') .. where[scope])
end

--- Return the options that name the server's model: its settings, and those of the
--- command that starts it where there is no such setting.
---@param command string[]
---@return string[]
local function model_options(command)
  local given = {} ---@type table<string, string>
  for number, word in ipairs(command) do
    local option, value = word:match('^(%-%-[%a-]+)=?(.*)$')
    if option then
      given[option] = value ~= '' and value or command[number + 1]
    end
  end
  local settings = vim.tbl_get(vim.lsp.config[server.NAME], 'settings', server.NAME) or {}
  local options = {} ---@type string[]
  for setting, option in vim.spairs(MODEL_OPTIONS) do
    local value = settings[setting] or given[option]
    if value and value ~= 'auto' then
      vim.list_extend(options, { option, tostring(value) })
    end
  end
  return options
end

--- Run doctor, with the model that the server has.
local function doctor()
  local command = server.command()
  if not command then
    return say('no server found; :checkhealth lsp-stablecode', vim.log.levels.ERROR)
  end
  vim.cmd.new()
  vim.fn.jobstart(server.subcommand('doctor', unpack(model_options(command))), { term = true })
end

---@type table<string, lsp-stablecode.Subcommand>
local subcommands = {
  status = {
    run = function()
      ask_server('status', {}, say_status)
    end,
  },
  explain = {
    run = function()
      ask_server('explain', { vim.uri_from_bufnr(0) }, function(result)
        if type(result) ~= 'table' then
          return say('nothing was asked for in this buffer yet')
        end
        show('The last completion of this buffer', result)
      end)
    end,
  },
  toggle = { run = toggle, arguments = switch.scopes },
  snooze = {
    run = function(minutes)
      ask_server('snooze', { tonumber(minutes) }, function()
        local now = status.of_buffer(0)
        say(now and now.message ~= '' and now.message or 'paused')
      end)
    end,
    arguments = { '15', '60', '0' },
  },
  trigger = {
    run = function()
      -- From the command line: Insert mode begins after it.
      vim.cmd.startinsert()
      vim.schedule(function()
        require('lsp-stablecode').trigger()
      end)
    end,
  },
  restart = { run = server.restart },
  log = {
    run = function()
      local path = vim.lsp.log.get_filename()
      if vim.fn.getfsize(path) <= 0 then
        return say('nothing was logged so far')
      end
      vim.cmd.tabedit(vim.fn.fnameescape(path))
    end,
  },
  doctor = { run = doctor },
  health = {
    run = function()
      vim.cmd.checkhealth('lsp-stablecode')
    end,
  },
}

---@param words string[]
function M.run(words)
  local subcommand = subcommands[words[1]]
  if not subcommand then
    local names = table.concat(vim.fn.sort(vim.tbl_keys(subcommands)), ', ')
    return say(("there is no '%s'; there are %s"):format(words[1], names), vim.log.levels.ERROR)
  end
  subcommand.run(words[2])
end

--- Complete a command line.
---@param line string
---@return string[]
function M.complete(line)
  local words = vim.split(line, '%s+')
  local found ---@type string[]
  if #words <= 2 then
    found = vim.fn.sort(vim.tbl_keys(subcommands))
  else
    found = vim.tbl_get(subcommands, words[2], 'arguments') or {}
  end
  return vim.tbl_filter(function(name)
    return vim.startswith(name, words[#words])
  end, found)
end

return M
