--- Ghost text from lsp-stablecode: what mappings and configurations call.

local M = {}

--- Change options; the plugin works without. The server is told of its settings, and
--- buffers get other keys.
---@param options? lsp-stablecode.Options
function M.setup(options)
  require('lsp-stablecode.options').set(options or {})
  local keys = require('lsp-stablecode.keys')
  local server = require('lsp-stablecode.server')
  -- Resolved anew at the next start, from the options.
  vim.lsp.config(server.NAME, {})
  for _, client in ipairs(vim.lsp.get_clients({ name = server.NAME })) do
    client.settings = vim.lsp.config[server.NAME].settings
    client:notify('workspace/didChangeConfiguration', { settings = client.settings })
    for bufnr in pairs(client.attached_buffers) do
      keys.unmap(bufnr)
      if vim.api.nvim_buf_is_loaded(bufnr) then
        keys.map(bufnr)
      end
    end
  end
  -- Some plugin managers run this before, or without, the files in plugin/.
  vim.cmd.runtime('plugin/lsp-stablecode.lua')
end

--- Accept the ghost text. False where there is none, so that a mapping can go on.
---@return boolean
function M.accept()
  return require('lsp-stablecode.insertion').accept('all')
end

--- Accept its first word.
---@return boolean
function M.accept_word()
  return require('lsp-stablecode.insertion').accept('word')
end

--- Accept its first line.
---@return boolean
function M.accept_line()
  return require('lsp-stablecode.insertion').accept('line')
end

--- Show the next alternative.
---@return boolean
function M.next()
  return require('lsp-stablecode.suggestions').choose(1)
end

--- Show the alternative before.
---@return boolean
function M.previous()
  return require('lsp-stablecode.suggestions').choose(-1)
end

--- Take the ghost text away until the text changes.
---@return boolean
function M.dismiss()
  return require('lsp-stablecode.suggestions').dismiss()
end

--- Ask by hand, for several alternatives; also where nothing is shown unasked.
---@return boolean
function M.trigger()
  return require('lsp-stablecode.suggestions').ask_by_hand()
end

--- Switch ghost text off or on; return whether it is on now.
---@param scope? lsp-stablecode.Scope By default everywhere
---@return boolean
function M.toggle(scope)
  local bufnr = vim.api.nvim_get_current_buf()
  local is_on = require('lsp-stablecode.switch').toggle(scope or 'global', bufnr)
  require('lsp-stablecode.suggestions').refresh()
  vim.cmd.redrawstatus({ bang = true })
  return is_on
end

--- Whether ghost text is shown at the cursor.
---@return boolean
function M.is_visible()
  return require('lsp-stablecode.suggestions').current() ~= nil
end

--- Return a few characters for the status line; empty where no server is attached.
---@return string
function M.status()
  return require('lsp-stablecode.status').line()
end

--- Return the same as data; nil where no server is attached to the buffer.
---@param bufnr? integer
---@return lsp-stablecode.Status?
function M.state(bufnr)
  return require('lsp-stablecode.status').of_buffer(bufnr or vim.api.nvim_get_current_buf())
end

return M
