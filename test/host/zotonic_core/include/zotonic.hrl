%% A stand-in: what mod_backup uses of Zotonic's own zotonic.hrl. Records that others fill in or match are
%% as they are there; a context is only ever used through functions.
-include_lib("kernel/include/logger.hrl").
-include("zotonic_notifications.hrl").
-include("zotonic_wired.hrl").

-define(__(Text, Context), z_trans:trans(Text, Context)).

%% A term in a column.
-define(DB_PROPS(Term), {term, Term}).

-record(trans, {tr = []}).
-record(upload, {filename, tmpfile}).
-record(search_result, {
    search_name = <<"query">>, search_args = #{}, result = [], page = 1, pagelen = 20, options = #{}, total, pages,
    is_total_estimated = false, next = false, prev = 1, facets
}).

-record(context, {
    site :: atom(),
    %% Of the stand-in only: where the files of the site are, who it is (`admin', or the modules that a user
    %% may use), the arguments of a request, and what was kept with it.
    files_dir :: file:filename_all(),
    acl = [] :: admin | [atom()],
    q = [] :: [{binary(), term()}],
    kept = #{} :: map()
}).
