%% A stand-in: what mod_backup uses of Zotonic's own zotonic.hrl.
-include_lib("kernel/include/logger.hrl").

-record(context, {
    site :: atom(),
    %% Of the stand-in only: where the files of the site are.
    files_dir :: file:filename_all()
}).
