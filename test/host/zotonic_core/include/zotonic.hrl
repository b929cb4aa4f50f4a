%% A stand-in: what mod_backup uses of Zotonic's own zotonic.hrl. Records that others fill in or match are
%% as they are there; a context is only ever used through functions.
-include_lib("kernel/include/logger.hrl").
-include("zotonic_notifications.hrl").
-include("zotonic_wired.hrl").

-define(__(Text, Context), z_trans:trans(Text, Context)).

-record(context, {
    site :: atom(),
    %% Of the stand-in only: where the files of the site are, who it is (`admin', or the modules that a user
    %% may use), and the arguments of a request.
    files_dir :: file:filename_all(),
    acl = [] :: admin | [atom()],
    q = [] :: [{binary(), term()}]
}).
