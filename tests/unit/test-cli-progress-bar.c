/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "progress-bar.h"

#include <vmckpt/util/fd.h>
#include <vmckpt/util/json.h>

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MIB (1024.0 * 1024)

static const ProgressView half = { .title = "g1",
                                   .phase = "store",
                                   .done = 50 * MIB,
                                   .total = 100 * MIB,
                                   .fraction = 0.5,
                                   .rate = 25 * MIB,
                                   .left = 2 };

static void
test_all_figures (void)
{
  g_autofree char *line = progress_view_render (&half, 100);

  g_assert_cmpstr (line, ==,
                   "g1: store     50% [#################.................]"
                   "  50.0 MiB of 100.0 MiB  25.0 MiB/s  0:02 left");
}

/* The line never wraps, whatever the terminal's width. */
static void
test_any_width (void)
{
  for (guint width = 1; width < 150; width++) {
    g_autofree char *line = progress_view_render (&half, width);
    g_assert_cmpint (g_utf8_strlen (line, -1), <=, width);
  }
}

static void
test_unknown_figures (void)
{
  ProgressView view = { .title = "g1", .phase = "prepare", .done = -1, .fraction = -1, .left = -1 };
  g_autofree char *line = progress_view_render (&view, 80);

  g_assert_cmpstr (line, ==, "g1: prepare ");
  view.fraction = 7;
  g_free (line);
  line = progress_view_render (&view, 80);
  g_assert_nonnull (strstr (line, "100%"));
}

static void
update (ProgressBar *bar, const char *text, gint64 now)
{
  g_autoptr (JsonObject) status = json_parse_bounded (text, strlen (text), 1024, 4, NULL);

  g_assert_nonnull (status);
  progress_bar_update (bar, status, now);
}

/* Rate and time left are found out where the daemon does not say; the line is wiped at the end. */
static void
test_status_lines (void)
{
  g_auto (AutoFd) fd = memfd_create ("bar", MFD_CLOEXEC);
  g_auto (Output) output = { .fd = fd };
  ProgressBar *bar = progress_bar_new (&output, "g1", 120);
  char text[1024] = "";

  update (bar, "{\"phase\":\"store\",\"bytes_done\":0,\"total_bytes\":4194304}", 0);
  update (bar, "{\"phase\":\"store\",\"bytes_done\":1048576,\"total_bytes\":4194304}", 1000000);
  progress_bar_free (bar);
  g_assert_cmpint (pread (fd, text, sizeof text - 1, 0), >, 0);
  g_assert_nonnull (strstr (text, " 25% ["));
  g_assert_nonnull (strstr (text, "1.0 MiB of 4.0 MiB  1.0 MiB/s  0:03 left"));
  g_assert_true (g_str_has_suffix (text, "\r\033[K"));
}

/* Work that begins anew at 0 in the same phase has a rate of its own. */
static void
test_new_stretch (void)
{
  g_auto (AutoFd) fd = memfd_create ("bar", MFD_CLOEXEC);
  g_auto (Output) output = { .fd = fd };
  ProgressBar *bar = progress_bar_new (&output, "g1", 120);
  char text[2048] = "";

  update (bar, "{\"phase\":\"read\",\"bytes_done\":0,\"total_bytes\":4194304}", 0);
  update (bar, "{\"phase\":\"read\",\"bytes_done\":4194304,\"total_bytes\":4194304}", 1000000);
  update (bar, "{\"phase\":\"read\",\"total_bytes\":8388608}", 9000000);
  update (bar, "{\"phase\":\"read\",\"bytes_done\":2097152,\"total_bytes\":8388608}", 10000000);
  progress_bar_free (bar);
  g_assert_cmpint (pread (fd, text, sizeof text - 1, 0), >, 0);
  g_assert_nonnull (strstr (text, "2.0 MiB of 8.0 MiB  2.0 MiB/s  0:03 left"));
}

int
main (int argc, char **argv)
{
  g_test_init (&argc, &argv, NULL);
  g_test_add_func ("/cli-progress-bar/all-figures", test_all_figures);
  g_test_add_func ("/cli-progress-bar/any-width", test_any_width);
  g_test_add_func ("/cli-progress-bar/unknown-figures", test_unknown_figures);
  g_test_add_func ("/cli-progress-bar/status-lines", test_status_lines);
  g_test_add_func ("/cli-progress-bar/new-stretch", test_new_stretch);
  return g_test_run();
}
