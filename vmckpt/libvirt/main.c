/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vmckpt-libvirt: the only program of vmckpt's that links libvirt.
 *
 *   vmckpt-libvirt --connect URI serve     answers requests on standard input (libvirt-link.h)
 */
#include "serve.h"

#include <vmckpt/libvirt/libvirt-link.h>

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

typedef struct {
  char *uri;
  gboolean version;
  char **words;
} Options;

static void
options_clear (Options *options)
{
  g_free (options->uri);
  g_strfreev (options->words);
}
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC (Options, options_clear)

static gboolean
parse_options (int *argc, char ***argv, Options *options, GError **error)
{
  const GOptionEntry entries[] = {
    { "connect", 'c', 0, G_OPTION_ARG_STRING, &options->uri, "libvirt's connection", "URI" },
    { "version", 0, 0, G_OPTION_ARG_NONE, &options->version, "Print the version", NULL },
    { G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->words, NULL, "serve" },
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
                       "--connect URI and 'serve' are needed");
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

int
main (int argc, char **argv)
{
  g_auto (Options) options = { NULL };
  g_autoptr (GError) error = NULL;

  signal (SIGPIPE, SIG_IGN);
  if (!parse_options (&argc, &argv, &options, &error))
    return usage (error->message);
  if (options.version) {
    printf ("vmckpt-libvirt " VMCKPT_VERSION "\n");
    return 0;
  }
  host_init_library();
  if (g_str_equal (options.words[0], "serve") && options.words[1] == NULL)
    return run_serve (&options);
  return usage ("the only thing it does is 'serve'");
}
