%% A stand-in for the file of the same name in Zotonic, with its records as they are there.
-record(postback, {message, trigger, target}).
-record(submit, {message, form, target}).
