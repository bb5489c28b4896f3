/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Whose a map is: owned maps are diffed and pruned by the control plane, data-plane maps
 * never written by it, collected ones are data-plane maps whose entries it deletes when their owner is gone. What both
 * hold is carried over when a map is made anew; a cache is a data-plane map that starts empty with every new program.
 * Shared ones are written by programs and by the agent that runs, in mapped memory, and hold nothing that a commit says. */
#ifndef RECONCILER_TAGS_H
#define RECONCILER_TAGS_H

#define __owned __attribute__((btf_decl_tag("owned")))
#define __data_plane __attribute__((btf_decl_tag("data-plane")))
#define __collected __attribute__((btf_decl_tag("collected")))
#define __cache __attribute__((btf_decl_tag("cache")))
#define __shared __attribute__((btf_decl_tag("shared")))

#endif
