/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmckpt-libvirt: the only program of vmckpt's that links libvirt.
 *
 *   vmckpt-libvirt --connect URI serve         answers requests on standard input (libvirt-link.h)
 *   vmckpt-libvirt --connect URI --directory DIR bridge UUID    gives a domain sockets in DIR
 *                                                              (libvirt-bridge.h)
 */
#include "bridge.h"
#include "serve.h"

#include <vmckpt/libvirt/libvirt-link.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
  char *uri;
  char *directory;
  int report_fd;
  gboolean version;
  char **words;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->uri);
  g_free (options->directory);
  g_strfreev (options->words);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static gboolean
parse_options (int *argc, char ***argv, Options *options, GError **error)
{
  const GOptionEntry entries[] = {
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &options->uri, "libvirt's connection", "URI" },
    { "directory", 0, 0, G_OPTION_ARG_FILENAME, &options->directory, "Where a bridge's sockets go",
      "DIR" },
    { "report-fd", 0, 0, G_OPTION_ARG_INT, &options->report_fd,
      "Gets \"ok\" or what went wrong, once that is known", "N" },
    { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->words, NULL,
      "serve | bridge UUID" },
    { NULL },
  };
  g_autoptr (GOptionContext) context = g_option_context_new ("- asks libvirt for vmckpt");

  g_option_context_add_main_entries (context, entries, NULL);
  if (!g_option_context_parse (context, argc, argv, error))
    return FALSE;
  if (options->version)
    return TRUE;
  if (options->uri != NULL && options->words != NULL)
    return TRUE;
  g_set_error_literal (error, LIBVIRT_ERROR, LIBVIRT_ERROR_USAGE,
                       "--connect URI and 'serve' or 'bridge UUID' are needed");
  return FALSE;
}

static int
usage (const char *text)
{
  fprintf (stderr, "vmckpt-libvirt: %s\n", text);
  return 2;
}

static int
run_serve (const Options *options)
{
  /* Output that is not ours must not get between the lines. */
  int output = dup (STDOUT_FILENO);
  g_autoptr (Host) host = host_new (options->uri);

  if (output < 0 || dup2 (STDERR_FILENO, STDOUT_FILENO) < 0)
    return 1;
  return serve (host, STDIN_FILENO, output);
}

static int
run_bridge (const Options *options)
{
  g_autoptr (Host) host = host_new (options->uri);

  return bridge_run (host, options->words[1], options->directory, options->report_fd);
}

/* SIGTERM is waited for by a thread that is made for it: before all others, so that none takes it.
 */
static void
block_ending (void)
{
  sigset_t ending;

  sigemptyset (&ending);
  sigaddset (&ending, SIGTERM);
  pthread_sigmask (SIG_BLOCK, &ending, NULL);
}

int
main (int argc, char **argv)
{
  g_auto (Options) options = { .report_fd = -1 };
  g_autoptr (GError) error = NULL;

  signal (SIGPIPE, SIG_IGN);
  if (!parse_options (&argc, &argv, &options, &error))
    return usage (error->message);
  if (options.version) {
    printf ("vmckpt-libvirt " VMCKPT_VERSION "\n");
    return 0;
  }
  gboolean is_serve = g_str_equal (options.words[0], "serve") && options.words[1] == NULL;
  gboolean is_bridge = g_str_equal (options.words[0], "bridge") && options.words[1] != NULL &&
                       options.words[2] == NULL && options.directory != NULL &&
                       g_uuid_string_is_valid (options.words[1]);
  if (!is_serve && !is_bridge)
    return usage ("what it does is 'serve' or, with --directory, 'bridge UUID'");
  if (is_bridge)
    block_ending();
  host_init_library();
  return is_serve ? run_serve (&options) : run_bridge (&options);
}
