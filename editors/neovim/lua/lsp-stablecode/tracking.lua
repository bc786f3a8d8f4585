--- Texts that Neovim does not follow.
---
--- A buffer that is changed while no server is attached to it is not followed any more,
--- whichever server is attached later (Neovim 0.11 and 0.12): that server would answer
--- for the text it was opened with. It is noticed here, and the text is sent whole.

local api = vim.api

local M = {}

---@class lsp-stablecode.Tracked
---@field client_id integer
---@field changed? integer The changedtick of the last change since it was opened
---@field sent? integer That of the text that was sent from here

---@type table<integer, lsp-stablecode.Tracked>
local tracked = {}

---@param bufnr integer
---@param one lsp-stablecode.Tracked
---@return boolean
local function is_followed(bufnr, one)
  return not one.changed or vim.lsp.util.buf_versions[bufnr] == one.changed
end

---@param bufnr integer
---@return string
local function text_of(bufnr)
  local line_end = vim.bo[bufnr].fileformat == 'dos' and '\r\n' or '\n'
  local text = table.concat(api.nvim_buf_get_lines(bufnr, 0, -1, true), line_end)
  return vim.bo[bufnr].endofline and text .. line_end or text
end

--- Begin with a buffer that the server was just told of.
---@param client vim.lsp.Client
---@param bufnr integer
function M.attach(client, bufnr)
  local one = { client_id = client.id } ---@type lsp-stablecode.Tracked
  tracked[bufnr] = one
  api.nvim_buf_attach(bufnr, false, {
    on_lines = function(_, _, tick)
      one.changed = tick
      return tracked[bufnr] ~= one
    end,
    -- With this, reading the file again is no end.
    on_reload = function()
      one.changed = api.nvim_buf_get_changedtick(bufnr)
    end,
    on_detach = function()
      -- What is not followed is not closed either, and a server that ends later would
      -- be detached from a buffer that is not there.
      if tracked[bufnr] == one then
        vim.lsp.buf_detach_client(bufnr, client.id)
      end
    end,
  })
end

---@param bufnr integer
function M.detach(bufnr)
  tracked[bufnr] = nil
end

--- Send the text, if the server has another one and would never learn of it.
---@param client vim.lsp.Client
---@param bufnr integer
function M.catch_up(client, bufnr)
  local one = tracked[bufnr]
  if not one or is_followed(bufnr, one) or one.sent == one.changed then
    return
  end
  one.sent = one.changed
  client:notify('textDocument/didChange', {
    textDocument = { uri = vim.uri_from_bufnr(bufnr), version = one.changed },
    contentChanges = { { text = text_of(bufnr) } },
  })
end

return M
