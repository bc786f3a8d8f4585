--- Ghost text drawn by Neovim 0.12's own inline completion.
---
--- It waits 200 ms before it asks, does not cancel, and goes on showing a suggestion
--- that no longer fits. So it is only given what to show, through the same state that
--- its own requests fill; `vim.lsp.inline_completion.get()` and `select()` then work.
--- That state is private, so its shape is looked at before it is relied upon.

local api = vim.api

local M = {}

---@class lsp-stablecode.Completor: vim.lsp.Capability
---@field automatic_request fun(self: lsp-stablecode.Completor)
---@field select fun(self: lsp-stablecode.Completor, index: integer, show_index?: boolean)
---@field hide fun(self: lsp-stablecode.Completor)
---@field reset_timer fun(self: lsp-stablecode.Completor)
---@field current? table

local METHODS = { 'automatic_request', 'select', 'hide', 'reset_timer' }

---@return lsp-stablecode.Completor?
local function class()
  if not vim.lsp.inline_completion then
    return nil
  end
  local is_there, capability = pcall(require, 'vim.lsp._capability')
  local found = is_there and vim.tbl_get(capability, 'all', 'inline_completion') or nil
  for _, method in ipairs(METHODS) do
    if type(vim.tbl_get(found or {}, method)) ~= 'function' then
      return nil
    end
  end
  return type(found.active) == 'table' and found or nil
end

--- Whether this Neovim has it, in the shape that is known here.
---@return boolean
function M.is_usable()
  return class() ~= nil
end

---@param bufnr integer
---@return lsp-stablecode.Completor?
local function completor(bufnr)
  local found = class()
  return found and found.active[bufnr] --[[@as lsp-stablecode.Completor?]]
end

--- Let it draw in a buffer. It still asks other servers by itself.
---@param client vim.lsp.Client
---@param bufnr integer
function M.attach(client, bufnr)
  vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
  local one = completor(bufnr)
  if not one then
    return
  end
  local ask = one.automatic_request
  -- Its own request would come 200 ms after ours, and supersede it.
  one.automatic_request = function(self)
    local others = vim.tbl_keys(self.client_state)
    if #others > 1 or others[1] ~= client.id then
      ask(self)
    end
  end
  one:reset_timer()
end

---@param client vim.lsp.Client
---@param bufnr integer
---@param row integer
---@param column integer
---@param rests lsp-stablecode.Rest[]
---@param index integer
---@param with_hint boolean
function M.show(client, bufnr, row, column, rests, index, with_hint)
  local one = completor(bufnr)
  local state = one and one.client_state[client.id]
  if not one or not state then
    return
  end
  local line = api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1]
  ---@param at integer
  ---@return lsp.Position
  local function position(at)
    return { line = row, character = vim.str_utfindex(line, client.offset_encoding, at, false) }
  end
  state.items = {}
  for number, rest in ipairs(rests) do
    state.items[number] = {
      insertText = rest.text,
      command = rest.item.command,
      range = { start = position(column), ['end'] = position(column + #rest.covered) },
    }
  end
  one:select(index, with_hint)
end

---@param client vim.lsp.Client
---@param bufnr integer
function M.hide(client, bufnr)
  local one = completor(bufnr)
  if one and one.client_state[client.id] then
    one.client_state[client.id] = {}
    one.current = nil
    one:hide()
  end
end

return M
