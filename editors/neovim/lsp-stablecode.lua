-- lsp-stablecode for Neovim 0.12 and 0.11; goes into ~/.config/nvim/lsp/.
-- Switch it on in init.lua with: vim.lsp.enable('lsp-stablecode')

-- 0.11 inserts the first word of a completion, and keeps the closing brackets right of
-- the cursor that the completion brings itself. This inserts all of it, and those once.
local function complete_whole(client, bufnr)
  vim.lsp.completion.enable(true, client.id, bufnr, {
    convert = function(item)
      if item.detail ~= 'lsp-stablecode' or not item.textEdit then
        return {}
      end
      local first, rest = item.textEdit.newText:match('^([^\n]*)(.*)$')
      local column = vim.api.nvim_win_get_cursor(0)[2]
      local replaced = item.textEdit.range['end'].character - column
      item.data = { first = first, rest = rest, replaced = replaced }
      return { word = first }
    end,
  })
  vim.api.nvim_create_autocmd('CompleteDone', {
    buffer = bufnr,
    callback = function()
      local ours = vim.tbl_get(vim.v, 'completed_item', 'user_data', 'nvim', 'lsp')
      local data = ours and ours.client_id == client.id and ours.completion_item.data
      -- Who types on wants no more lines.
      if not data or (data.rest ~= '' and vim.v.event.reason ~= 'accept') then
        return
      end
      local row, column = unpack(vim.api.nvim_win_get_cursor(0))
      if vim.endswith(vim.api.nvim_get_current_line():sub(1, column), data.first) then
        local lines = vim.split(data.rest, '\n')
        vim.api.nvim_buf_set_text(bufnr, row - 1, column, row - 1, column + data.replaced, lines)
        if #lines > 1 then
          vim.api.nvim_win_set_cursor(0, { row + #lines - 1, #lines[#lines] })
        end
      end
    end,
  })
end

---@type vim.lsp.Config
return {
  cmd = { 'lsp-stablecode', 'serve' },
  -- No `filetypes`: every file. Silence some with the setting `disabledLanguages`.
  root_markers = { '.git' },
  settings = {
    ['lsp-stablecode'] = vim.empty_dict(),
  },
  on_attach = function(client, bufnr)
    if vim.lsp.inline_completion then
      vim.lsp.inline_completion.enable(true, { bufnr = bufnr })
    else -- the server then answers <C-x><C-o>
      complete_whole(client, bufnr)
    end
  end,
}
