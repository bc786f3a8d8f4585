--- What Neovim reports, handed to the modules it concerns.

local ghost = require('lsp-stablecode.ghost')
local keys = require('lsp-stablecode.keys')
local menu = require('lsp-stablecode.menu')
local requests = require('lsp-stablecode.requests')
local server = require('lsp-stablecode.server')
local status = require('lsp-stablecode.status')
local suggestions = require('lsp-stablecode.suggestions')
local tracking = require('lsp-stablecode.tracking')

local api = vim.api

local M = {}

local group ---@type integer?

---@param events string|string[]
---@param callback fun(event: vim.api.keyset.create_autocmd.callback_args)
local function on(events, callback)
  api.nvim_create_autocmd(events, { group = group, callback = callback })
end

---@param event vim.api.keyset.create_autocmd.callback_args
---@return vim.lsp.Client?
local function our_client(event)
  local client = vim.lsp.get_client_by_id(event.data.client_id)
  return client and client.name == server.NAME and client or nil
end

---@param client vim.lsp.Client
---@param bufnr integer
local function attach(client, bufnr)
  server.add_folder(client, bufnr)
  tracking.attach(client, bufnr)
  suggestions.attach(client, bufnr)
  -- After the user's own LspAttach, which may map the same keys.
  vim.schedule(function()
    if api.nvim_buf_is_loaded(bufnr) then
      keys.map(bufnr)
    end
    suggestions.update()
  end)
end

--- Begin to listen; once is enough.
function M.listen()
  if group then
    return
  end
  group = api.nvim_create_augroup('lsp-stablecode', {})
  ghost.highlight()
  on('ColorScheme', ghost.highlight)

  on('LspAttach', function(event)
    local client = our_client(event)
    if client then
      attach(client, event.buf)
    end
  end)
  on('LspDetach', function(event)
    if our_client(event) and suggestions.detach(event.data.client_id, event.buf) then
      tracking.detach(event.buf)
      keys.unmap(event.buf)
    end
  end)
  on('LspProgress', function(event)
    if our_client(event) then
      status.progressed(event.data.params.value, event.data.client_id)
    end
  end)

  -- All of them come before the screen is drawn again, so nothing flickers.
  on({ 'TextChangedI', 'TextChangedP', 'CursorMovedI' }, suggestions.update)
  on('InsertEnter', function(event)
    if suggestions.client(event.buf) then
      keys.map(event.buf)
    end
  end)
  -- The text must not be touched, and the menu not be closed, from within these.
  on({ 'CompleteChanged', 'CompleteDone' }, function()
    vim.schedule(suggestions.update)
  end)
  menu.watch(group, vim.schedule_wrap(suggestions.update))
  on({ 'BufLeave', 'WinLeave', 'RecordingEnter' }, suggestions.clear)
  on('ModeChanged', function(event)
    if event.match:find(':i') then
      vim.schedule(suggestions.update)
    else
      suggestions.clear()
    end
  end)
  on('BufEnter', function(event)
    local client = suggestions.client(event.buf)
    if client then
      requests.tell(client, 'didFocus', {
        textDocument = { uri = vim.uri_from_bufnr(event.buf) },
      })
    end
  end)
end

return M
