--- What the server does, for the status line.

local requests = require('lsp-stablecode.requests')
local switch = require('lsp-stablecode.switch')

local api = vim.api

local M = {}

---@alias lsp-stablecode.Kind 'Normal'|'Warning'|'Error'|'Inactive'

---@class lsp-stablecode.Status
---@field kind lsp-stablecode.Kind `Inactive` is switched off, or not there yet
---@field is_resting? boolean Whether it is inactive until somebody asks
---@field busy boolean
---@field message string For people
---@field percentage? integer How much of the model is loaded

---@type table<integer, lsp-stablecode.Status>
local by_client = {}

--- Which servers send `didChangeStatus`; of others only the progress is known.
---@type table<integer, true>
local tells_status = {}

---@param client_id integer
---@return lsp-stablecode.Status
local function status_of(client_id)
  return by_client[client_id] or { kind = 'Normal', busy = false, message = '' }
end

--- Remember a status; tell the status line and whoever listens if it is another one.
---@param client_id integer
---@param status lsp-stablecode.Status
local function note(client_id, status)
  local before = by_client[client_id]
  if vim.deep_equal(status, before) then
    return
  end
  by_client[client_id] = status
  api.nvim_exec_autocmds('User', {
    pattern = 'LspStablecodeStatus',
    modeline = false,
    data = status,
  })
  vim.cmd.redrawstatus({ bang = true })
  if status.kind == 'Normal' and (not before or before.kind == 'Inactive') then
    -- What was asked while the model was loaded was answered with nothing.
    vim.schedule(require('lsp-stablecode.suggestions').refresh)
  end
end

--- Ask a server that is silent whether its model only waits to be asked.
---@param client_id integer
local function ask_why(client_id)
  local client = assert(vim.lsp.get_client_by_id(client_id))
  local silent = status_of(client_id)
  local command = { command = client.name .. '.status' }
  client:request('workspace/executeCommand', command, function(_, result)
    local is_waiting = result and (result.state == 'resting' or result.state == 'idle')
    if is_waiting and result.enabled and by_client[client_id] == silent then
      note(client_id, vim.tbl_extend('force', silent, { is_resting = true }))
    end
  end)
end

--- Handle the notification `didChangeStatus`.
---@param params { kind: lsp-stablecode.Kind, busy: boolean, message: string }
---@param client_id integer
function M.changed(params, client_id)
  tells_status[client_id] = true
  note(client_id, {
    kind = params.kind,
    busy = params.busy,
    message = params.message,
    percentage = params.busy and status_of(client_id).percentage or nil,
  })
  if params.kind == 'Inactive' and not params.busy then
    ask_why(client_id)
  end
end

--- Handle work-done progress, which the server has for the model's loading.
---@param value { kind: 'begin'|'report'|'end', message?: string, percentage?: integer }
---@param client_id integer
function M.progressed(value, client_id)
  local status = vim.deepcopy(status_of(client_id))
  local is_loading = value.kind ~= 'end'
  status.percentage = is_loading and (value.percentage or status.percentage) or nil
  if not tells_status[client_id] then
    status.kind = is_loading and 'Inactive' or 'Normal'
    status.busy = is_loading
    status.message = is_loading and value.message or ''
  end
  note(client_id, status)
end

---@param client_id integer
function M.forget(client_id)
  by_client[client_id] = nil
  tells_status[client_id] = nil
  vim.cmd.redrawstatus({ bang = true })
end

--- Return what is known of the server of a buffer; nil where none is attached.
---@param bufnr integer
---@return lsp-stablecode.Status?
function M.of_buffer(bufnr)
  local client = vim.lsp.get_clients({ name = 'lsp-stablecode', bufnr = bufnr })[1]
  return client and status_of(client.id)
end

--- Return a few characters for the status line; empty where no server is attached.
---@return string
function M.line()
  local bufnr = api.nvim_get_current_buf()
  local status = M.of_buffer(bufnr)
  if not status then
    return ''
  elseif switch.which_is_off(bufnr) then
    return 'stablecode: off'
  elseif status.percentage then
    -- No percent sign: in some status lines it would begin an item.
    return ('stablecode: loading %d/100'):format(status.percentage)
  elseif status.is_resting then
    return 'stablecode'
  elseif status.kind == 'Inactive' then
    return status.busy and 'stablecode: loading' or 'stablecode: off'
  elseif status.kind ~= 'Normal' then
    return 'stablecode: ' .. status.kind:lower()
  elseif status.busy or requests.is_pending() then
    return 'stablecode: …'
  end
  return 'stablecode'
end

return M
