--- Ghost text drawn with extmarks: on Neovim 0.11, and on 0.12 unless told otherwise.

local api = vim.api

local M = {}

local namespace = api.nvim_create_namespace('lsp-stablecode.ghost')

local GHOST = 'LspStablecodeGhost'
local MORE = 'LspStablecodeMore'

--- The window that ghost text is confined to.
---@type integer?
local window

--- Define the highlights, unless the user or a colour scheme has.
function M.highlight()
  local has_its_own = vim.fn.hlexists('ComplHint') == 1
  api.nvim_set_hl(0, GHOST, { link = has_its_own and 'ComplHint' or 'NonText', default = true })
  api.nvim_set_hl(0, MORE, { link = has_its_own and 'ComplHintMore' or 'MoreMsg', default = true })
end

--- Return a line as it looks in the buffer: virtual text knows no tab stops.
---@param text string
---@param column integer The display column it begins at, from 0
---@return string
local function expand(text, column)
  local shown = ''
  for blanks, rest in text:gmatch('(\t*)([^\t]*)') do
    for _ = 1, #blanks do
      local width = vim.fn.strdisplaywidth('\t', column + vim.fn.strdisplaywidth(shown))
      shown = shown .. (' '):rep(width)
    end
    shown = shown .. vim.fn.strtrans(rest)
  end
  return shown
end

--- Draw one line, woven into the closing brackets that stand there already.
---@param bufnr integer
---@param row integer
---@param column integer
---@param pieces lsp-stablecode.Piece[]
---@param line string
---@param more? [string, string]
local function draw_pieces(bufnr, row, column, pieces, line, more)
  for number, piece in ipairs(pieces) do
    local at = column + piece.offset
    local chunks = {} ---@type [string, string][]
    if piece.text ~= '' then
      chunks[1] = { expand(piece.text, vim.fn.strdisplaywidth(line:sub(1, at))), GHOST }
    end
    if number == #pieces then
      chunks[#chunks + 1] = more
    end
    if #chunks > 0 then
      api.nvim_buf_set_extmark(bufnr, namespace, row, at, {
        virt_text = chunks,
        virt_text_pos = 'inline',
      })
    end
  end
end

--- Draw over what stands right of the cursor, character by character: so it wraps where
--- that does, and hides it. What is longer than that stands behind it.
---@param bufnr integer
---@param row integer
---@param column integer
---@param chunks [string, string?][]
---@param after string
---@param start integer The display column it begins at, from 0
local function draw_over(bufnr, row, column, chunks, after, start)
  local cells = {} ---@type [string, string?][]
  for _, chunk in ipairs(chunks) do
    for _, character in ipairs(vim.fn.split(chunk[1], '\\zs')) do
      cells[#cells + 1] = { character, chunk[2] }
    end
  end
  local index, drawn = 1, start
  for _, hidden in ipairs(vim.fn.split(after, '\\zs')) do
    start = start + vim.fn.strdisplaywidth(hidden, start)
    local over = {} ---@type [string, string?][]
    while drawn < start do
      over[#over + 1] = cells[index] or { ' ' }
      drawn = drawn + vim.fn.strdisplaywidth(over[#over][1])
      index = index + 1
    end
    api.nvim_buf_set_extmark(bufnr, namespace, row, column, {
      virt_text = over,
      virt_text_pos = 'overlay',
      -- The cursor line's background, which inline text has anyway.
      hl_mode = 'combine',
    })
    column = column + #hidden
  end
  api.nvim_buf_set_extmark(bufnr, namespace, row, column, {
    virt_text = vim.list_slice(cells, index),
    virt_text_pos = 'inline',
  })
end

--- Draw several lines, or one that replaces other text. What stays of the cursor's
--- line will stand behind the last of them, so it is shown there and hidden here.
---@param bufnr integer
---@param row integer
---@param column integer
---@param rest lsp-stablecode.Rest
---@param line string
---@param more? [string, string]
local function draw_lines(bufnr, row, column, rest, line, more)
  local start = vim.fn.strdisplaywidth(line:sub(1, column))
  local rows = {} ---@type [string, string?][][]
  for text in vim.gsplit(rest.text, '\n', { plain = true }) do
    rows[#rows + 1] = { { expand(text, #rows == 0 and start or 0), GHOST } }
  end
  local last = rows[#rows]
  local behind = vim.fn.strdisplaywidth(last[1][1], #rows == 1 and start or 0)
  last[2] = { expand(rest.kept, behind) }
  last[3] = more
  draw_over(bufnr, row, column, table.remove(rows, 1), line:sub(column + 1), start)
  api.nvim_buf_set_extmark(bufnr, namespace, row, column, {
    virt_lines = rows,
    virt_lines_overflow = 'scroll',
  })
end

--- Let the text show in the current window only, where Neovim offers that: others on
--- the same buffer would have it too, and their lines pushed down.
local function confine()
  if window ~= api.nvim_get_current_win() and api.nvim__ns_set then
    window = api.nvim_get_current_win()
    pcall(api.nvim__ns_set, namespace, { wins = { window } })
  end
end

--- Show what is left of a candidate. Nothing is flushed to the screen in between.
---@param bufnr integer
---@param row integer The cursor's, from 0
---@param column integer The cursor's, in bytes from 0
---@param rest lsp-stablecode.Rest
---@param hint? string Such as `(2/3)`
function M.show(bufnr, row, column, rest, hint)
  M.hide(bufnr)
  confine()
  local line = api.nvim_buf_get_lines(bufnr, row, row + 1, false)[1]
  local more = hint and { ' ' .. hint, MORE } or nil
  if rest.pieces then
    draw_pieces(bufnr, row, column, rest.pieces, line, more)
  else
    draw_lines(bufnr, row, column, rest, line, more)
  end
end

---@param bufnr integer
function M.hide(bufnr)
  if api.nvim_buf_is_valid(bufnr) then
    api.nvim_buf_clear_namespace(bufnr, namespace, 0, -1)
  end
end

return M
